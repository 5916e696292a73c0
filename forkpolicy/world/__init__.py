"""What the policy asks of the world: questions for the DNS and for services, and what their answers mean."""
