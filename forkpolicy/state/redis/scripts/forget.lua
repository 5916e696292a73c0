-- Take a key out of a list. KEYS: the key. Reply: 1 if it was there.
return redis.call('DEL', KEYS[1])
