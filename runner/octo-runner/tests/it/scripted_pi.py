#!/usr/bin/python3
"""An agent that speaks pi's RPC and does what the prompt says.

say TEXT | drip N (N deltas, 5 ms apart) | stream N (N deltas, one per line of stdin allowed to interrupt) | hang (streams one delta, then waits for an abort) |
crash | ask | permit TOOL SUBJECT (asks for a permission, as octo's extension does; `permits N` for N of them, one after the other) | leave (leaves a process running) | doze S (takes S seconds to end) | tool (one that runs until aborted) | flood N (N KiB in one message) | eat N (a child that holds N MiB, then hang) | bomb (forks without end) |
stubborn (ignores SIGTERM and the end of its input, with a daemon beside it) | sleep (a tool process in a session of its own, then hang)
"""
import json, os, queue, signal, subprocess, sys, threading, time

lines = queue.Queue()


def reader():
    for line in sys.stdin:
        lines.put(json.loads(line))
    lines.put(None)


threading.Thread(target=reader, daemon=True).start()
args = sys.argv[1:]
session_dir = args[args.index("--session-dir") + 1] if "--session-dir" in args else "/tmp"
resumed = "--session" in args
session_file = args[args.index("--session") + 1] if resumed else os.path.join(session_dir, "scripted-%d.jsonl" % os.getpid())
model = args[args.index("--model") + 1].split("/", 1) if "--model" in args else ["demo", "scripted"]
state = {"count": 0, "streaming": False, "doze": 0}


if resumed and os.path.exists(session_file):
    state["count"] = sum(1 for _ in open(session_file))


def out(**value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def reply(command, data=None, success=True, error=None):
    value = {"type": "response", "command": command["type"], "success": success}
    if "id" in command:
        value["id"] = command["id"]
    if data is not None:
        value["data"] = data
    if error:
        value["error"] = error
    out(**value)


def model_json():
    return {"id": model[1], "name": model[1], "api": "anthropic-messages", "provider": model[0], "reasoning": False, "input": ["text"],
            "contextWindow": 1000, "maxTokens": 100}


def answer(command):
    """What can be answered at any time. True when it was."""
    kind = command["type"]
    if kind == "get_state":
        reply(command, {"model": model_json(), "thinkingLevel": "off", "isStreaming": state["streaming"], "isCompacting": False,
                        "steeringMode": "one-at-a-time", "followUpMode": "one-at-a-time", "sessionFile": session_file, "sessionId": "scripted",
                        "autoCompactionEnabled": True, "messageCount": state["count"], "pendingMessageCount": 0})
    elif kind == "get_available_models":
        reply(command, {"models": [model_json()]})
    elif kind == "get_commands":
        reply(command, {"commands": []})
    elif kind == "clear_queue":
        reply(command, {"steering": [], "followUp": []})
    elif kind == "set_model":
        model[:] = [command["provider"], command["modelId"]]
        reply(command, model_json())
    else:
        return False
    return True


def message_start():
    out(type="message_start", message={"role": "assistant", "content": []})
    out(type="message_update", assistantMessageEvent={"type": "text_start", "contentIndex": 0})


def delta(text):
    out(type="message_update", assistantMessageEvent={"type": "text_delta", "contentIndex": 0, "delta": text})


def message_end(text, reason="stop"):
    state["count"] += 1
    with open(session_file, "a") as f:
        f.write(json.dumps({"text": text}) + "\n")
    out(type="message_end", message={"role": "assistant", "content": [{"type": "text", "text": text}], "provider": model[0], "model": model[1],
                                     "usage": {"input": 3, "output": 5, "cacheRead": 0, "cacheWrite": 0, "cost": {"total": 0.5}},
                                     "stopReason": reason, "timestamp": 1})


def settle(aborted=False):
    state["streaming"] = False
    out(type="agent_end", messages=[], willRetry=False)
    out(type="agent_settled", aborted=aborted)


def wait_for_abort():
    """Answers what comes until an abort does; returns it."""
    while True:
        command = lines.get()
        if command is None:
            sys.exit(0)
        if command["type"] == "abort":
            return command
        if command["type"] == "prompt" and command.get("streamingBehavior") == "steer":
            got(command["message"])
            reply(command, {"disposition": "queued"})
            out(type="queue_update", steering=[command["message"]], followUp=[])
            out(type="queue_update", steering=[], followUp=[])
            user(command["message"])
        elif not answer(command):
            reply(command)


def got(text):
    """What reached this agent, for those who count."""
    with open("received.log", "a") as f:
        f.write(text + "\n")


def user(text):
    state["count"] += 1
    message = {"role": "user", "content": [{"type": "text", "text": text}], "timestamp": 1}
    out(type="message_start", message=message)
    out(type="message_end", message=message)


def run(command):
    text = command["message"]
    got(text)
    reply(command, {"disposition": "started"})
    state["streaming"] = True
    out(type="agent_start")
    user(text)
    word, _, rest = text.partition(" ")
    if word in ("stream", "drip"):
        message_start()
        for n in range(int(rest)):
            delta("%d " % n)
            if word == "drip":
                time.sleep(0.005)
        message_end("".join("%d " % n for n in range(int(rest))))
        settle()
    elif word == "hang":
        message_start()
        delta("partial")
        abort = wait_for_abort()
        message_end("partial", "aborted")
        settle(True)
        reply(abort)
    elif word == "sleep":
        child = subprocess.Popen(["sleep", "9876"], start_new_session=True)
        message_start()
        delta("child %d" % child.pid)
        abort = wait_for_abort()
        message_end("slept", "aborted")
        settle(True)
        reply(abort)
    elif word == "crash":
        message_start()
        delta("about to")
        sys.stderr.write("the scripted agent was asked to crash\n")
        sys.stderr.flush()
        os._exit(3)
    elif word == "tool":
        out(type="tool_execution_start", toolCallId="call_1", toolName="bash", args={"command": "x"})
        for n in range(500):
            out(type="tool_execution_update", toolCallId="call_1", toolName="bash", args={}, partialResult={"content": [{"type": "text", "text": "line %d" % n}]})
        abort = wait_for_abort()
        out(type="tool_execution_end", toolCallId="call_1", toolName="bash", result={"content": [{"type": "text", "text": "stopped"}]}, isError=True)
        message_end("tool", "aborted")
        settle(True)
        reply(abort)
    elif word == "ask":
        out(type="extension_ui_request", id="q1", method="confirm", title="sure?", message="really?")
        while True:
            command = lines.get()
            if command is None:
                sys.exit(0)
            if command["type"] == "extension_ui_response":
                break
            answer(command) or reply(command)
        message_start()
        said = "answered %s" % command.get("confirmed")
        delta(said)
        message_end(said)
        settle()
    elif word in ("permit", "permits"):
        wanted = ["step %d" % n for n in range(int(rest))] if word == "permits" else [rest]
        answers = []
        message_start()
        began = time.monotonic()
        for n, call in enumerate(wanted):
            tool, _, subject = call.partition(" ")
            metadata = {"tool": tool, "tool_call_id": "call_%d" % n, "command": subject}
            question = {"title": "Allow %s?" % tool, "metadata": metadata,
                        "options": [{"option_id": "allow_once", "label": "y", "kind": "allow_once"}, {"option_id": "deny_once", "label": "n", "kind": "deny_once"}]}
            asked = "%s-%d-%d" % (tool, os.getpid(), state["count"] * 100000 + n)
            out(type="extension_ui_request", id=asked, method="select", title="octo:permission:" + json.dumps(question), options=["allow_once", "deny_once"])
            while True:
                command = lines.get()
                if command is None:
                    sys.exit(0)
                if command["type"] == "extension_ui_response" and command["id"] == asked:
                    answers.append(str(command.get("value")))
                    break
                answer(command) or reply(command)
        took = (time.monotonic() - began) / len(wanted)
        said = "answered %s" % "; ".join(answers) if word == "permit" else "%s, each in %d us" % (sorted(set(answers)), took * 1e6)
        delta(said)
        message_end(said)
        settle()
    elif word == "leave":
        subprocess.Popen(["sleep", "9876"], start_new_session=True)
        message_start()
        message_end("left")
        settle()
    elif word == "doze":
        state["doze"] = float(rest)
        message_start()
        message_end("will doze")
        settle()
    elif word == "eat":
        subprocess.Popen([sys.executable, "-c", "b = bytearray(%d << 20); import time; time.sleep(9876)" % int(rest)], start_new_session=True)
        message_start()
        delta("eating")
        wait_for_abort()
    elif word == "bomb":
        message_start()
        delta("forking")
        subprocess.Popen(["sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 9876"], start_new_session=True, stderr=subprocess.DEVNULL)
        wait_for_abort()
    elif word == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sh", "-c", "trap '' TERM HUP INT; (setsid sleep 9876 &) ; sleep 9876"], start_new_session=True)
        message_start()
        delta("never")
        while True:
            time.sleep(1)
    elif word == "flood":
        message_start()
        text = "x" * 1024
        for n in range(int(rest)):
            delta(text)
        message_end(text * int(rest))
        settle()
    else:
        message_start()
        said = "you said: %s%s" % (rest, " (resumed)" if resumed else "")
        for piece in said.split(" "):
            delta(piece + " ")
        message_end(said)
        settle()


while True:
    command = lines.get()
    if command is None:
        time.sleep(state["doze"])
        sys.exit(0)
    if command["type"] == "prompt":
        if command["message"] == "refuse":
            reply(command, success=False, error="no")
        else:
            run(command)
    elif not answer(command):
        reply(command)
