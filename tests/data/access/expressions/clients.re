/^unknown$/ WARN no name
/(dsl|dynamic|dialup)[-.].*\.net$/ REJECT Dial-up
/[0-9]+-[0-9]+-/ REJECT Numbers
