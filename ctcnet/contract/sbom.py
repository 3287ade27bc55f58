"""Software bill of materials of a model file: CycloneDX JSON by the library cyclonedx-python-lib (extra 'sign')."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from ctcnet.extras import import_extra
from ctcnet.model_card import ModelCard
from ctcnet.runtime.model_file import ModelFile


def sbom_path(model: str | Path) -> Path:
    """Where the bill of a model lies."""
    return Path(model).with_suffix(".sbom.json")


def sbom_text(model: Path, file: ModelFile, card: ModelCard, made_with: Sequence[dict[str, str]]) -> str:
    """CycloneDX 1.6 JSON: the model file with its hash, and the programs that made it.

    The same file gives the same bill but for the time it was written.

    Args:
        model, file: the model file.
        card: the model's.
        made_with: name, version and licence of each program, from the file's metadata.

    Raises:
        MissingExtraError: without the extra 'sign'.
    """
    parts = import_extra("cyclonedx.model.component", "sign")
    model_parts = import_extra("cyclonedx.model", "sign")
    licences = import_extra("cyclonedx.factory.license", "sign").LicenseFactory()
    purl = import_extra("packageurl", "sign").PackageURL

    def stated(licence: str) -> list:
        return [licences.make_from_string(licence)] if licence else []

    root = parts.Component(
        name=model.name,
        type=parts.ComponentType.MACHINE_LEARNING_MODEL,
        version=card.software_version,
        bom_ref=f"sha256:{file.sha256}",
        description=card.intended_use,
        hashes=[model_parts.HashType(alg=model_parts.HashAlgorithm.SHA_256, content=file.sha256)],
        licenses=stated(card.licence),
    )
    programs = [
        parts.Component(
            name=entry["name"],
            type=parts.ComponentType.LIBRARY,
            version=entry["version"],
            bom_ref=f"{entry['name']}=={entry['version']}",
            purl=purl("pypi", name=entry["name"], version=entry["version"]),
            licenses=stated(entry["licence"]),
        )
        for entry in made_with
    ]
    bom = import_extra("cyclonedx.model.bom", "sign").Bom(
        components=programs, serial_number=uuid5(NAMESPACE_URL, file.sha256)
    )
    bom.metadata.component = root
    bom.register_dependency(root, programs)
    schema = import_extra("cyclonedx.schema", "sign")
    outputter = import_extra("cyclonedx.output", "sign").make_outputter(
        bom, schema.OutputFormat.JSON, schema.SchemaVersion.V1_6
    )
    return json.dumps(json.loads(outputter.output_as_string()), indent=2) + "\n"
