"""OAuth 2 at the edge: who asks at the token endpoint, what is granted, and what is taken back."""
