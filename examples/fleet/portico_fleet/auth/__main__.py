"""`python -m portico_fleet.auth`."""

from portico_fleet.launch import launch

launch("portico_fleet.auth.program")
