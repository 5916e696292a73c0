-- Put a key into a list. KEYS: the key. ARGV: for how many seconds.
local expiry = expires_at(now + ARGV[1])
put(KEYS[1], struct.pack('<BI4', FORMAT, expiry), expiry)
return 0
