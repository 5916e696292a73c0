"""The page Why: one decision explained, with the policy and tables of then and with those of now."""
