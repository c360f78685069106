"""`python -m portico_fleet.agenda`."""

from portico_fleet.launch import launch

launch("portico_fleet.agenda.program")
