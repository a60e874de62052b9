"""The servers that `forge up` runs itself when no external ones are configured."""
