"""The official Python SDK as a client that does what it is told: one JSON object a line in, what comes of it out.

The agent is the first argument (see puppet.rs).
"""

import asyncio
import json
import os
import sys

from acp import connect_to_agent
from acp.exceptions import RequestError
from acp.schema import AllowedOutcome, ClientCapabilities, DeniedOutcome, RequestPermissionResponse
from acp.stdio import spawn_stdio_transport

TARGET = json.loads(sys.argv[1])


def say(said):
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def plain(model):
    if model is None:
        return {}
    return model.model_dump(mode="json", by_alias=True, exclude_none=True) if hasattr(model, "model_dump") else model


class Puppet:
    """The client's side."""

    def __init__(self):
        self.asked = {}
        self.asks = 0

    def on_connect(self, conn):
        pass

    async def session_update(self, session_id, update, **meta):
        say({"said": "update", "params": {"sessionId": session_id, "update": plain(update), "_meta": meta}})

    async def request_permission(self, session_id, tool_call, options, **meta):
        self.asks += 1
        number = self.asks
        answer = asyncio.get_running_loop().create_future()
        self.asked[number] = answer
        params = {"sessionId": session_id, "toolCall": plain(tool_call), "options": [plain(option) for option in options]}
        say({"said": "asked", "ask": number, "method": "session/request_permission", "params": params})
        outcome = (await answer)["outcome"]
        if outcome["outcome"] == "selected":
            return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=outcome["optionId"]))
        return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))


def blocks(prompt):
    from acp.schema import PromptRequest

    return PromptRequest.model_validate({"sessionId": "s", "prompt": prompt}).prompt


async def call(conn, method, params):
    """A method of the protocol, as the SDK has it."""
    session = params.get("sessionId")
    meta = params.get("_meta") or {}
    if method == "initialize":
        capabilities = ClientCapabilities.model_validate(params.get("clientCapabilities") or {})
        return await conn.initialize(protocol_version=params["protocolVersion"], client_capabilities=capabilities)
    if method == "session/new":
        return await conn.new_session(cwd=params["cwd"], mcp_servers=[], **meta)
    if method == "session/load":
        return await conn.load_session(cwd=params["cwd"], session_id=session, mcp_servers=[], **meta)
    if method == "session/resume":
        return await conn.resume_session(cwd=params["cwd"], session_id=session, mcp_servers=[], **meta)
    if method == "session/list":
        return await conn.list_sessions(cwd=params.get("cwd"))
    if method == "session/close":
        return await conn.close_session(session_id=session)
    if method == "session/set_mode":
        return await conn.set_session_mode(session_id=session, mode_id=params["modeId"])
    if method == "session/set_config_option":
        return await conn.set_config_option(config_id=params["configId"], session_id=session, value=params["value"])
    if method == "session/prompt":
        return await conn.prompt(session_id=session, prompt=blocks(params["prompt"]), **meta)
    raise ValueError(method)


async def request(conn, told):
    try:
        say({"said": "result", "id": told["id"], "result": plain(await call(conn, told["method"], told["params"]))})
    except RequestError as error:
        say({"said": "error", "id": told["id"], "code": error.code, "message": str(error), "data": error.data})
    except Exception as error:  # noqa: BLE001
        say({"said": "error", "id": told["id"], "code": None, "message": f"{type(error).__name__}: {error}", "data": None})


async def obey(conn, puppet):
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = set()
    while line := await reader.readline():
        told = json.loads(line)
        if told["do"] == "request":
            task = asyncio.create_task(request(conn, told))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        elif told["do"] == "notify" and told["method"] == "session/cancel":
            await conn.cancel(session_id=told["params"]["sessionId"])
        elif told["do"] == "answer":
            puppet.asked.pop(told["ask"]).set_result(told["result"])


async def main():
    puppet = Puppet()
    headers = {"Authorization": f"Bearer {TARGET['token']}"} if TARGET.get("token") else None
    if TARGET["transport"] == "stdio":
        program, *rest = TARGET["command"]
        env = {**os.environ, **(TARGET.get("env") or {})}
        limit = 50 * 1024 * 1024
        async with spawn_stdio_transport(program, *rest, env=env, stderr=None, limit=limit) as (reader, writer, process):
            conn = connect_to_agent(puppet, writer, reader)
            await obey(conn, puppet)
            await conn.close()
        say({"said": "exit", "code": process.returncode})
        return
    if TARGET["transport"] == "ws":
        from acp.ws import create_websocket_stream

        transport = await create_websocket_stream(TARGET["url"].replace("http", "ws", 1), headers=headers)
    else:
        from acp.http import create_http_stream

        transport = create_http_stream(TARGET["url"], headers=headers)
        if asyncio.iscoroutine(transport):
            transport = await transport
    conn = connect_to_agent(puppet, transport)
    await obey(conn, puppet)
    await conn.close()


asyncio.run(main())
