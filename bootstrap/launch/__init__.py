"""Many hosts at once: starting them, doing a playbook on each, and leaving nothing behind. No failure stops another."""
