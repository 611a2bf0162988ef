"""Model providers: each one module behind the port `domain.ports.models.ModelProvider`."""
