"""The fixtures of registries."""

from tests.registry.fixtures import configure, dockerd, fake, home, module_proxy, module_puller, proxy, puller, registry

__all__ = ["configure", "dockerd", "fake", "home", "module_proxy", "module_puller", "proxy", "puller", "registry"]
