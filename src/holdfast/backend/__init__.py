"""The backend: life cycle, repositories, tenants and transactions over one engine."""

from holdfast._namespace import publish as _publish
from holdfast.backend.factory import *
from holdfast.backend.protocol import *
from holdfast.backend.transaction import *

_publish(globals())
