"""What every process shares around Temporal: settings, client, converter and codec, interceptors, telemetry."""
