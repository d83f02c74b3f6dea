"""What an organisation is: frozen values, checked when they are made."""

from holdfast._namespace import publish as _publish
from holdfast.entities.artifacts import *
from holdfast.entities.audit import *
from holdfast.entities.base import Entity as Entity
from holdfast.entities.base import NotBlankStr as NotBlankStr
from holdfast.entities.money import *
from holdfast.entities.people import *
from holdfast.entities.runs import *
from holdfast.entities.talk import *
from holdfast.entities.work import *

_publish(globals())
