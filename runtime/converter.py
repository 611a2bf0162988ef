"""How payloads look on the wire: pydantic JSON, encrypted wherever a key is, failures included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes

from runtime.codec import EncryptionCodec, KeyRing


def data_converter(codec_key_file: Path | None) -> DataConverter:
    """The converter of every client, worker and replayer. Raises ValueError when the key file is not a key ring."""
    if codec_key_file is None:
        return pydantic_data_converter
    return replace(
        pydantic_data_converter,
        payload_codec=EncryptionCodec(KeyRing.read(codec_key_file)),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
