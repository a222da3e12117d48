"""The catalogue: which base models there are, what may be set on them and what they cost. Two TOML files."""

from worker.catalog.loader import CatalogError, FileCatalog, load_catalog

__all__ = ["CatalogError", "FileCatalog", "load_catalog"]
