"""What is kept about a person, by an address: found in every copy, exported, and forgotten.

person.py     whose it is: one address or all of a domain, in rows, in lines and in any text
days.py       the files of the days, with their compressed lines
log_files.py  the log that the server writes
forgetting.py all of them, in order; versions.py kept versions that name it, which are only listed
copies.py     the list of all copies, and what can be said of those that nothing here can change
"""
