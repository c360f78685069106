"""What the MCP door adds to the container. It asks others for use cases, the fleet and `ShownSettings`."""

from dishka import Provider, Scope, provide, provide_all

from app.agents.front_door import FrontDoor
from app.infra.openapi.fleet import FleetDescription
from app.surfaces.mcp.agent_tools import AgentTools
from app.surfaces.mcp.backup_tools import BackupTools
from app.surfaces.mcp.desk import McpDesk
from app.surfaces.mcp.fleet_tools import FleetTools
from app.surfaces.mcp.system_tools import SystemTools
from app.surfaces.mcp.work_tools import WorkTools


class McpProvider(Provider):
    scope = Scope.APP

    kinds = provide_all(AgentTools, WorkTools, SystemTools, BackupTools)

    @provide
    def desk(
        self,
        agents: AgentTools,
        work: WorkTools,
        system: SystemTools,
        backups: BackupTools,
        description: FleetDescription,
        front_door: FrontDoor,
    ) -> McpDesk:
        ours = {tool.name: tool for kind in (agents, work, system, backups) for tool in kind.tools()}
        return McpDesk(ours, FleetTools(description, front_door))
