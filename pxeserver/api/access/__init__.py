"""Who may use the API and the pages: users, sessions, tokens, and what keeps strangers and browsers out."""
