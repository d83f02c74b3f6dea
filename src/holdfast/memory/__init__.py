"""What agents and their organisation remember, built on a backend's repositories."""

from holdfast._namespace import publish as _publish
from holdfast.memory.errors import *
from holdfast.memory.organisation import *

_publish(globals())
