"""What is known of Postfix: how it is configured, asked, restricted, and how it reads lists, maps and addresses."""
