"""For the tests of applications, repositories and engines built on Holdfast.

`holdfast.testing.fixtures` is a pytest plugin with databases of both engines, `samples` makes valid
entities, `suite` is what every repository and engine must pass, told what to expect by the data of
`subjects`. They need the extra ``holdfast[testing]`` and are imported by name; `PostgresCluster`, a
real server to throw away, and `Proxy`, a network that fails, need no pytest.
"""

from __future__ import annotations

from holdfast.testing.cluster import PostgresCluster
from holdfast.testing.proxy import Proxy

__all__ = ["PostgresCluster", "Proxy"]
