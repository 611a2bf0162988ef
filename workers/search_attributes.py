"""The server settings we rely on, seen to when a worker starts: the search attributes exist, or are made.

The other ones (fairness, partitions) cannot be read from the server: `infra/temporal/` and the embedded stack set them.
"""

from __future__ import annotations

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import DependencyUnavailable
from domain.names import SearchAttribute


async def ensure_search_attributes(client: Client) -> None:
    """Makes those that are missing. Raises DependencyUnavailable, naming what to do, when one has another type or may not
    be made."""
    listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    wrong = [name for name in SearchAttribute if listed.custom_attributes.get(name.value, keyword) != keyword]
    if wrong:
        raise DependencyUnavailable(
            f"The search attributes {', '.join(wrong)} are not Keyword; make them anew in this namespace."
        )
    missing = [name for name in SearchAttribute if name.value not in listed.custom_attributes]
    if not missing:
        return
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes={name.value: keyword for name in missing})
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return
        raise DependencyUnavailable(
            f"The search attributes {', '.join(missing)} are missing and cannot be made ({error.status.name}); "
            "create them as Keyword in this namespace."
        ) from error
