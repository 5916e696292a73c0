// An OpenID provider on loopback, for tests: npm's oidc-provider with nobody's pages. Who "signs in" there stands in the
// file `who`: an account, or the name of an error. Arguments: the directory of its settings (settings.json), the package.
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [directory, modules] = process.argv.slice(2);
const found = createRequire(`${modules}/`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(found));
const settings = JSON.parse(fs.readFileSync(`${directory}/settings.json`));
const who = () => fs.readFileSync(`${directory}/who`, "utf8").trim();

const provider = new Provider(settings.issuer, {
  clients: [settings.client],
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  conformIdTokenClaims: settings.by_userinfo,
  cookies: { keys: ["of tests"] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...settings.people[id] }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys: [settings.key] },
  pkce: { required: () => true },
});

async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  let result = { login: { accountId: who() } };
  if (who() === "access_denied") {
    result = { error: "access_denied", error_description: "somebody said no" };
  } else if (prompt.name === "consent") {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

const answer = provider.callback();
const hear = (request, response) => (request.url.startsWith("/interaction/") ? interact : answer)(request, response);
const read = (name) => fs.readFileSync(`${directory}/${name}`);
const server = settings.issuer.startsWith("https:")
  ? https.createServer({ key: read("key.pem"), cert: read("certificate.pem") }, hear)
  : http.createServer(hear);
server.listen(settings.port, "127.0.0.1", () => console.log("listens"));
