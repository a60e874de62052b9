"""Who calls: browser sessions with CSRF protection, Basic, OAuth2 tokens; signing in and out."""
