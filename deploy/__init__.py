"""Sample configuration and manifests."""
