//! Tool calls that a person decides, and questions.

use crate::scene::SESSION;
use crate::{Agent, Cell, Scene};
use octo_e2e::seen::find;
use octo_e2e::{Turn, demo_prompt};
use serde_json::{Value, json};

/// A call that no agent lets run by itself.
fn writes(name: &str) -> [Turn; 2] {
    [Turn::text("Now.").bash(&format!("printf it > {name}")), Turn::text("That was it.")]
}

impl Scene {
    async fn asked(&mut self) -> Value {
        self.event("agent.input_needed").await["request"].clone()
    }

    async fn answer(&mut self, request: &Value, mut answer: Value) {
        answer["cmd"] = json!("input_response");
        answer["request_id"] = request["request_id"].clone();
        self.command(answer).await;
    }

    fn made(&self, name: &str) -> bool {
        self.instance.workspace().join(name).exists()
    }
}

pub async fn allowed(agent: Agent, _: Cell) {
    let mut scene = Scene::asking(agent).await;
    scene.prompt("Write.", &writes("allowed")).await;
    let request = scene.asked().await;
    let metadata = &request["metadata"];
    assert_eq!((&request["type"], &metadata["tool"]), (&json!("permission"), &json!(agent.shell())));
    assert_eq!(metadata["command"], "printf it > allowed");
    assert!(!scene.made("allowed"), "nothing runs before it is allowed");
    scene.answer(&request, json!({"option_id": "allow_once"})).await;
    let seen = scene.to_the_end().await;
    let decided = find(&seen, "permission.decided");
    assert_eq!((&decided["by"], &decided["allowed"]), (&json!("user"), &json!(true)));
    assert!(scene.made("allowed"));
    scene.prompt("Again.", &writes("again")).await;
    let request = scene.asked().await;
    scene.answer(&request, json!({"option_id": "deny_once"})).await;
    scene.to_the_end().await;
    assert!(!scene.made("again"), "once is once");
}

pub async fn denied(agent: Agent, _: Cell) {
    let mut scene = Scene::asking(agent).await;
    scene.prompt("Write.", &writes("denied")).await;
    let request = scene.asked().await;
    scene.answer(&request, json!({"option_id": "deny_once", "value": "not in this house"})).await;
    let seen = scene.to_the_end().await;
    let end = find(&seen, "tool.end");
    assert_eq!(end["is_error"], true);
    assert!(end["output"].to_string().contains("not in this house"), "the agent hears why: {end}");
    assert!(!scene.made("denied"));
    // Too late, and said so.
    let late = json!({"cmd": "input_response", "request_id": request["request_id"], "option_id": "allow_once"});
    let (code, sentence) = scene.client.refused(SESSION, late).await;
    assert!(code == "invalid_request" && sentence.contains("no open question"), "{code} {sentence}");
    scene.works().await;
}

pub async fn always(agent: Agent, _: Cell) {
    let mut scene = Scene::asking(agent).await;
    let file = |name: &str| {
        let path = scene.instance.workspace().join(name);
        let write = json!([{"text": "", "tools": [{"name": "write", "input": {"path": path, "content": "one\n"}}]}, {"text": "Written."}]);
        json!({"cmd": "prompt", "message": format!("Write {name}. @demo {write}")})
    };
    let (first, second) = (file("first.txt"), file("second.txt"));
    scene.command(first).await;
    let request = scene.asked().await;
    assert!(request["metadata"]["diff"].as_str().unwrap().contains("+one"), "the change is shown: {request}");
    scene.answer(&request, json!({"option_id": "allow_tool"})).await;
    scene.to_the_end().await;
    // It is not asked for again.
    scene.command(second).await;
    let seen = scene.to_the_end().await;
    assert_eq!(find(&seen, "permission.decided")["by"], "rule");
    assert!(scene.made("first.txt") && scene.made("second.txt"));
}

/// A tool of pi that asks.
const ASKS: &str = r#"export default function (pi: any) {
	pi.registerTool({
		name: "colour",
		label: "Colour",
		description: "Asks which colour it shall be",
		parameters: { type: "object", properties: {} },
		async execute(_id: string, _input: any, _signal: any, _update: any, ctx: any) {
			const answer = await ctx.ui.select("Which colour?", ["Red", "Blue"]);
			return { content: [{ type: "text", text: `It is ${answer}` }], details: {} };
		},
	});
}
"#;

pub async fn question(agent: Agent, _: Cell) {
    let mut scene = Scene::open_with(agent, &[(".pi/agent/extensions/colour.ts", ASKS.to_owned())]).await;
    let options = json!([{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}]);
    let call = match agent {
        Agent::Claude => {
            let question = json!({"question": "Which colour?", "header": "Colour", "multiSelect": false, "options": options});
            json!({"name": "AskUserQuestion", "input": {"questions": [question]}})
        }
        _ => json!({"name": "colour", "input": {}}),
    };
    let script = json!([{"text": "", "tools": [call]}, {"text": "Thanks."}]);
    scene.command(json!({"cmd": "prompt", "message": format!("Ask. @demo {script}")})).await;
    let request = scene.asked().await;
    assert_eq!((&request["type"], &request["title"]), (&json!("select"), &json!("Which colour?")));
    let blue = request["options"].as_array().unwrap().iter().find(|option| option.as_str().unwrap().starts_with("Blue")).unwrap().clone();

    // Another device sees it and answers; this one sees that it is answered.
    let mut second = scene.another_device().await;
    let open = second.command(SESSION, json!({"cmd": "get_state"})).await["pendingInput"].clone();
    assert_eq!(open, json!([request]));
    second.command(SESSION, json!({"cmd": "input_response", "request_id": request["request_id"], "value": blue})).await;
    let resolved = scene.event("agent.input_resolved").await;
    assert_eq!((&resolved["request_id"], &resolved["by"]), (&request["request_id"], &json!("user")));
    scene.to_the_end().await;
    let told = scene.history().await.into_iter().find(|message| message["role"] == "tool").unwrap();
    assert!(told.to_string().contains("Blue"), "{told}");
    assert_eq!(scene.said().await, "Thanks.");
    let message = demo_prompt("Go on.", &[Turn::text("On.")]);
    second.command(SESSION, json!({"cmd": "prompt", "message": message})).await;
    scene.to_the_end().await;
    assert_eq!(scene.said().await, "On.");
}
