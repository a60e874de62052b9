"""What everything stands on: settings, errors, database, secrets, Temporal client, embedded servers."""
