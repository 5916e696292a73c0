-- Whether a key is in a list: its record is a head alone. KEYS: the key. Reply: until when, in seconds since 1970; 0 if
-- it is not.
local record = get(KEYS[1])
if not record then return 0 end
local _, expiry = struct.unpack('<BI4', record)
return expiry
