"""What an organisation is: frozen values, checked when they are made."""

from holdfast._namespace import publish as _publish
from holdfast.entities.access import *
from holdfast.entities.agents import *
from holdfast.entities.approvals import *
from holdfast.entities.artifacts import *
from holdfast.entities.audit import *
from holdfast.entities.base import Entity as Entity
from holdfast.entities.base import NotBlankStr as NotBlankStr
from holdfast.entities.company import *
from holdfast.entities.costs import *
from holdfast.entities.decisions import *
from holdfast.entities.idempotency import *
from holdfast.entities.json import *
from holdfast.entities.knowledge import *
from holdfast.entities.levels import *
from holdfast.entities.lockouts import *
from holdfast.entities.messages import *
from holdfast.entities.presets import *
from holdfast.entities.runs import *
from holdfast.entities.security import *
from holdfast.entities.tasks import *
from holdfast.entities.users import *
from holdfast.entities.versions import *
from holdfast.entities.workflows import *

_publish(globals())
