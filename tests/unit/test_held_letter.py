"""A stranger's mail taken apart and made harmless: text, attachments, names, and what of HTML is left."""

from __future__ import annotations

import re
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.console.held.letter import Letter, part_of, read_letter
from forkpolicy.console.held.preview import POLICY, document, harmless
from forkpolicy.translations import translate


def say(text, **values):
    """In English."""
    return translate("en", text, **values)


def mail_with(*attachments):
    """Text, HTML, and attachments: names with their bytes."""
    mail = EmailMessage()
    mail["Subject"] = "Hello"
    mail.set_content("As text.\n")
    mail.add_alternative("<p>As <b>HTML</b></p>", subtype="html")
    for name, content in attachments:
        mail.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return mail.as_bytes()


def test_the_parts_of_a_mail():
    """Its HTML is shown, its text is there, too, attachments have their names, types and sizes."""
    letter = read_letter(mail_with(("invoice.pdf", b"%PDF-1.7"), ("two.pdf", b"%")))
    assert letter.html == "<p>As <b>HTML</b></p>\n"
    assert letter.text == "As text.\n"
    assert [(each.name, each.kind, each.size_bytes) for each in letter.parts] == [
        ("invoice.pdf", "application/pdf", 8),
        ("two.pdf", "application/pdf", 1),
    ]
    assert part_of(mail_with(("invoice.pdf", b"%PDF-1.7")), letter.parts[0].number).content == b"%PDF-1.7"
    assert part_of(mail_with(), 99) is None


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("iso-8859-1", b"caf\xe9", "café"),
        ("windows-1252", b"\x80 5", "€ 5"),
        ("utf-8", "naïve".encode(), "naïve"),
        ("gb18030", "你好".encode("gb18030"), "你好"),
        ("nonsense", "naïve".encode(), "naïve"),
        # Python knows these, and mail does not.
        ("punycode", b"abc-", "abc-"),
        ("unicode_escape", rb"\u0041", r"\u0041"),
        ("idna", b"xn--", "xn--"),
    ],
)
def test_text_is_decoded_as_mail_says(charset, raw, text):
    """By an alphabet; a name that is none of mail's decodes nothing."""
    mail = b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n" + raw
    assert read_letter(mail).text == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system.exe", "system.exe"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\x00b\x07.pdf", "ab.pdf"),
        (".", "part-3"),
        ("", "part-3"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_the_name_of_an_attachment_is_only_a_name(name, shown):
    """Without directories, without what turns or hides text, not longer than file systems allow."""
    (part,) = read_letter(mail_with((name, b"x"))).parts
    assert part.name == shown


HOSTILE = [
    "<script>document.title='owned'</script>",
    "<p onclick='x()'>a</p>",
    "<img src='https://tracker.example/a.png' onerror='x()'>",
    "<a href='javascript:x()'>a</a>",
    "<a href='https://evil.example/'>bank.example</a>",
    "<svg><script>x()</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=x()>",
    "<style>@import 'https://evil.example/a.css';</style>",
    "<p style='background:url(https://tracker.example/)'>a</p>",
    "<form action='https://evil.example/'><input name=password></form>",
    "<iframe src='https://evil.example/'></iframe>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href='https://evil.example/'>",
    "<link rel=stylesheet href='https://evil.example/a.css'>",
    "<object data='x'></object><embed src='x'>",
    "<video src='https://tracker.example/'><audio src='x'>",
    "<noscript><p title='</noscript><img src=x onerror=x()>'>",
    "<template><script>x()</script></template>",
    "<!-- --!><script>x()</script> -->",
    "</body></html><script>x()</script>",
    "<button formaction='javascript:x()'>a</button>",
    "<p id=main class=frame name=token>a</p>",
]
# What is left may be one of these, without attributes but the spans of a table.
LEFT = re.compile(r"<(/?)([a-z0-9]+)((?: (?:colspan|rowspan)=\"[^\"]*\")*)>")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_acts_is_left(text):
    """No script, address, style, form or name: tags that carry text only."""
    left = harmless(text)
    assert not re.sub(LEFT, "", left).count("<"), left
    assert not {name for _, name, _ in LEFT.findall(left)} & {
        "script",
        "style",
        "img",
        "svg",
        "form",
        "input",
        "iframe",
    }
    assert "x()" not in re.sub(r"<[^>]*>", "", left).replace("title='owned'", ""), left


def test_links_keep_their_words():
    """Where they led is not followed by mistake."""
    assert harmless("<a href='https://evil.example/'>bank.example</a>") == "<a>bank.example</a>"


@given(st.text(alphabet="<>/=\"' \n-!abimgscriptonerrorstylehref:&;#x0", max_size=200))
def test_whatever_is_written_is_made_harmless(text):
    """Random tags and attributes, too."""
    assert not re.sub(LEFT, "", harmless(text)).count("<")


@given(st.binary(max_size=2000))
def test_whatever_arrives_is_read(raw):
    """Nothing that a stranger can send is an error; neither is asking for a part of it."""
    letter = read_letter(raw)
    assert document(letter, say).startswith("<!doctype html>")
    for number in (0, 1, 5):
        part_of(raw, number)


def test_a_structure_that_is_too_deep_is_shown_as_it_stands():
    """Python's parser gives up on it; the reader sees what arrived."""
    head = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(2000))
    letter = read_letter(head.encode())
    assert letter.text is None or letter.text.startswith("Content-Type")
    assert letter.html is None


def test_text_is_text():
    """Of a plain mail each character stands for itself."""
    shown = document(Letter(text="<b>5 < 6 & 'a'</b>"), say)
    assert "<pre>&lt;b&gt;5 &lt; 6 &amp; &#x27;a&#x27;&lt;/b&gt;</pre>" in shown


def test_the_other_form_of_a_mail():
    """Its text in place of its HTML, if it has one."""
    letter = Letter(html="<b>a</b>", text="b")
    assert "<b>a</b>" in document(letter, say)
    assert "<pre>b</pre>" in document(letter, say, as_text=True)
    assert "<b>a</b>" in document(Letter(html="<b>a</b>"), say, as_text=True)


def test_a_long_mail_is_cut_and_says_so():
    """A million characters are enough to judge it."""
    letter = read_letter(b"Content-Type: text/plain\r\n\r\n" + b"x" * (2 << 20))
    assert letter.is_cut
    assert "beginning of a long mail" in document(letter, say)


def test_the_policy_of_the_frame_allows_one_style_alone():
    """Its digest is that of the style in the document."""
    assert "script-src" not in POLICY
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "sandbox" in POLICY
