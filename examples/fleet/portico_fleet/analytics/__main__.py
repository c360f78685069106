"""`python -m portico_fleet.analytics`."""

from portico_fleet.launch import launch

launch("portico_fleet.analytics.program")
