#!/usr/bin/env bash
# Redis 7.0.15, Lua scripts: a time in microseconds (TIME, joined to one number) as a key, a member, a value.
#
# Guess: such a number (51 bits) is exact in Lua's doubles, so it is the same wherever the script puts it; and what works
#        with one number as an expiry works with another that prints alike.
# Seen:  it depends on the way out. As an argument of redis.call(), in struct.pack() and cmsgpack.pack() it is exact. Joined
#        to a text with "..", by tostring() or cjson.encode() it has 14 digits: steps of 100 microseconds. A sliding log
#        whose members are `prefix .. now` loses requests that come within one step: a limit then lets more through.
#        And arguments have 17 digits, so an expiry of 0.3 * 10000 ms is accepted and one of 0.1 * 3 * 10000 ms, which
#        prints as 3000 too, is "value is not an integer or out of range".
#
# Needs Debian 12 and the right to install redis-tools (whose redis-check-rdb is the server, too; no service comes with
# it). The server listens on a UNIX socket in a temporary folder and is ended. Exit status 0: as described; 1: not so
# any more.
set -euo pipefail
if ! command -v redis-check-rdb >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-tools >/dev/null
fi
T=$(mktemp -d)
SERVER=
cleanup() { [ -z "$SERVER" ] || { kill "$SERVER" && wait "$SERVER"; } 2>/dev/null || true; rm -rf "$T"; }
trap cleanup EXIT
ln -s "$(command -v redis-check-rdb)" "$T/redis-server"
"$T/redis-server" --port 0 --unixsocket "$T/socket" --save '' --dir "$T" >/dev/null &
SERVER=$!
for _ in $(seq 100); do [ -S "$T/socket" ] && break; sleep 0.1; done
lua() { printf '%-72s ' "$1"; redis-cli -s "$T/socket" EVAL "local now = 1795835933279636 $1" 0 2>&1 | sed 's/ script: .*//'; }
{
    redis-cli -s "$T/socket" INFO server | sed -n 's/^redis_version:/Redis /p' | tr -d '\r'
    lua "redis.call('SET', 'a', now) return redis.call('GET', 'a')"
    lua "return (struct.unpack('>I8', struct.pack('>I8', now))) == now and 'equal'"
    lua "return cmsgpack.unpack(cmsgpack.pack(now)) == now and 'equal'"
    lua "return 'seen:' .. now"
    lua "return tostring(now)"
    lua "return cjson.encode(now)"
    lua "for i = 1, 10 do redis.call('ZADD', 'b', now + i, now + i) end return redis.call('ZCARD', 'b')"
    lua "for i = 1, 10 do redis.call('ZADD', 'c', now + i, 'at ' .. now + i) end return redis.call('ZCARD', 'c')"
    lua "return redis.call('SET', 'd', 'x', 'PX', 0.3 * 10000)"
    lua "return tostring(0.1 * 3 * 10000)"
    lua "return redis.call('SET', 'd', 'x', 'PX', 0.1 * 3 * 10000)"
} | sed '/^$/d' | tee "$T/seen"
diff "$T/seen" - <<'SEEN'
Redis 7.0.15
redis.call('SET', 'a', now) return redis.call('GET', 'a')                1795835933279636
return (struct.unpack('>I8', struct.pack('>I8', now))) == now and 'equal' equal
return cmsgpack.unpack(cmsgpack.pack(now)) == now and 'equal'            equal
return 'seen:' .. now                                                    seen:1.7958359332796e+15
return tostring(now)                                                     1.7958359332796e+15
return cjson.encode(now)                                                 1.7958359332796e+15
for i = 1, 10 do redis.call('ZADD', 'b', now + i, now + i) end return redis.call('ZCARD', 'b') 10
for i = 1, 10 do redis.call('ZADD', 'c', now + i, 'at ' .. now + i) end return redis.call('ZCARD', 'c') 1
return redis.call('SET', 'd', 'x', 'PX', 0.3 * 10000)                    OK
return tostring(0.1 * 3 * 10000)                                         3000
return redis.call('SET', 'd', 'x', 'PX', 0.1 * 3 * 10000)                ERR value is not an integer or out of range
SEEN
