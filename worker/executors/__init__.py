"""Engines that run training jobs: adapters of the Executor port."""
