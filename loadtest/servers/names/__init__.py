"""A name server for tests and fire drills that does what each zone is to do, rightly or wrongly."""
