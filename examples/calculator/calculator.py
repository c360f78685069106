"""A calculator service, the agent that uses it, and a page to talk to it: one program. `python calculator.py`.

The service is an ordinary FastAPI app, and knows nothing of the agent. The agent knows the service by five `RestTool`s
and calls it over HTTP. The page (`page.html`) speaks the same API as any other front end of the agent.
"""

import asyncio
import os
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from app.agents.contract import Risk
from app.agents.tools.rest import RestTool
from app.embedding import create_agent

HERE = Path(__file__).parent
PORT = int(os.environ.get("PORT", "8000"))


class Two(BaseModel):
    a: float
    b: float


class Many(BaseModel):
    numbers: list[float] = Field(max_length=100)
    seconds_each: float = Field(default=1, ge=0, le=10, description="how long the service takes for each number")


class Answer(BaseModel):
    result: float


# ---- the agent

calling = partial(
    RestTool,
    method="POST",
    base_url=f"http://127.0.0.1:{PORT}",
    networks=["127.0.0.0/8"],  # else a tool reaches nothing but public addresses
    risk=Risk.READS,  # it is a POST, and changes nothing: nobody need be asked
)

assistant = create_agent(
    "You are a calculator. Never do arithmetic in your head: call a tool for every operation, then say the result.",
    name="calculator",
    description="Does sums with a calculator",
    tools=[
        calling(name="add", path="/calculator/add", json=Two, description="Add two numbers."),
        calling(name="subtract", path="/calculator/subtract", json=Two, description="Subtract b from a."),
        calling(name="multiply", path="/calculator/multiply", json=Two, description="Multiply two numbers."),
        calling(name="divide", path="/calculator/divide", json=Two, description="Divide a by b."),
        calling(name="add_up", path="/calculator/add-up", json=Many, timeout_s=600, description="Add many, slowly."),
    ],
    state_dir=Path("state"),
)

# ---- the service

app = FastAPI(title="Calculator", lifespan=assistant.lifespan)


@app.post("/calculator/add")
async def add(given: Two) -> Answer:
    return Answer(result=given.a + given.b)


@app.post("/calculator/subtract")
async def subtract(given: Two) -> Answer:
    return Answer(result=given.a - given.b)


@app.post("/calculator/multiply")
async def multiply(given: Two) -> Answer:
    return Answer(result=given.a * given.b)


@app.post("/calculator/divide")
async def divide(given: Two) -> Answer:
    if given.b == 0:
        raise HTTPException(400, "There is no result: b is 0.")
    return Answer(result=given.a / given.b)


@app.post("/calculator/add-up")
async def add_up(given: Many) -> Answer:
    """Take a while, so that there is something to watch."""
    return Answer(result=sum([await _thought_of(one, given) for one in given.numbers]))


async def _thought_of(number: float, given: Many) -> float:
    await asyncio.sleep(given.seconds_each)
    return number


# ---- the page, and where the agent is


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(HERE / "page.html")


app.mount("/assistant", assistant)


def main() -> None:
    uvicorn.run(app, host="127.0.0.1", port=PORT)


if __name__ == "__main__":
    main()
