/** A script for the demo model, so that somebody without a key can see an agent at work with one click. */
const TURNS = [
  {
    thinking:
      "The person wants to see what octo does. I look at the folder first, then I write something and run it.",
    text: "I look around in this folder first.",
    chunks: 12,
    delay_ms: 60,
    tools: [{ name: "bash", input: { command: "pwd && ls -la" } }],
  },
  {
    text: "Then a small program…",
    tools: [
      {
        name: "write",
        input: {
          path: "hello-octo.sh",
          content: '#!/bin/sh\nfor n in 1 2 3; do\n  echo "arm $n waves"\n  sleep 0.5\ndone\n',
        },
      },
    ],
  },
  { text: "…which I run.", tools: [{ name: "bash", input: { command: "sh hello-octo.sh" } }] },
  {
    text: "That was a **demonstration**. The tools really ran, the words came from a script:\n\n| step | tool | what you saw |\n|---|---|---|\n| 1 | `bash` | the folder |\n| 2 | `write` | a new file, `hello-octo.sh` |\n| 3 | `bash` | its output, live |\n\nReload this page or close it while an agent works: nothing is lost. With a real model, this is where its answer stands.",
    chunks: 60,
    delay_ms: 40,
  },
];

export function demoPrompt(lead: string): string {
  return `${lead}\n\n@demo ${JSON.stringify(TURNS)}`;
}
