/^info@/ REJECT Info
/[[:digit:]]{3}/ REJECT Numbers
/^(a|b)+@/ DUNNO
!/example/ REJECT Elsewhere
