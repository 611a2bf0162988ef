"""A policy engine that is seen: how often each layer said what, and how long it took. No tenant and no policy in a label."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from domain.policy_sets import PolicyFault, PolicyLayers
from domain.ports.policy import PolicyAnswer, PolicyEngine, PolicyQuestion

_SECONDS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class PolicyMetrics:
    """What the policies of a process's gate decided."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the metrics; once per registry."""
        self.decisions: Final = Counter(
            "somagent_policy_decisions", "Answers of the policies, by layer.", ("layer", "verdict"), registry=registry
        )
        self.seconds: Final = Histogram(
            "somagent_policy_decision_seconds",
            "Time to ask all layers, by the strictest verdict.",
            ("verdict",),
            buckets=_SECONDS,
            registry=registry,
        )


class ObservedEngine:
    """Implements `domain.ports.policy.PolicyEngine` around another."""

    def __init__(self, engine: PolicyEngine, metrics: PolicyMetrics) -> None:
        """`engine` does the work."""
        self._engine, self._metrics = engine, metrics

    def evaluate(self, layers: PolicyLayers, question: PolicyQuestion) -> PolicyAnswer:
        """The engine's, counted."""
        began = time.perf_counter()
        answer = self._engine.evaluate(layers, question)
        self._metrics.seconds.labels(answer.verdict.value).observe(time.perf_counter() - began)
        for said in answer.layers:
            self._metrics.decisions.labels(said.layer.value, said.verdict.value).inc()
        return answer

    def check(self, policies: str) -> tuple[PolicyFault, ...]:
        """The engine's."""
        return self._engine.check(policies)

    def count(self, policies: str) -> int:
        """The engine's."""
        return self._engine.count(policies)

    def digest(self, policies: str) -> str:
        """The engine's."""
        return self._engine.digest(policies)
