//! Services beside octo: memory, slides, history, voice, browser.

use crate::config::key::Default as D;
use crate::config::key::Key;
use crate::config::key::Kind as K;
use crate::config::table::Section;

const NO_MEMORY: &str = "memories are not built";
const NO_SLIDES: &str = "slides are not built";
const NO_VOICE: &str = "voice is not built";
const NO_BROWSER: &str = "browser automation is not built";
const OWN_HISTORY: &str = "history is part of the runner and always on";

pub(in crate::config) const SECTIONS: &[Section] = &[
    Section {
        name: "mmry",
        doc: "Memories.",
        keys: &[
            Key::new("mmry.enabled", K::Bool, D::Bool(false), "Offer memories.").not_built(NO_MEMORY),
            Key::new("mmry.local_service_url", K::Text, D::Text("http://localhost:8081"), "The service for local sessions.")
                .not_built(NO_MEMORY),
            Key::new("mmry.host_service_url", K::Text, D::Text("http://localhost:8081"), "The embedding service.").not_built(NO_MEMORY),
            Key::new("mmry.host_api_key", K::Text, D::None, "Its key.").not_built(NO_MEMORY).secret(),
            Key::new("mmry.default_model", K::Text, D::Text("nomic-ai/nomic-embed-text-v1.5"), "Embedding model.").not_built(NO_MEMORY),
            Key::new("mmry.dimension", K::Integer(1, 65_536), D::Integer(768), "Its dimension.").not_built(NO_MEMORY),
            Key::new("mmry.binary", K::Text, D::Text("mmry"), "Its program.").not_built(NO_MEMORY),
            Key::new("mmry.container_url", K::Text, D::None, "The service as containers see it.").not_built(NO_MEMORY),
            Key::new("mmry.user_base_port", K::Integer(1, 65_535), D::Integer(48_000), "First port of the users' services.")
                .not_built(NO_MEMORY),
            Key::new("mmry.user_port_range", K::Integer(1, 65_535), D::Integer(1000), "How many ports.").not_built(NO_MEMORY),
        ],
    },
    Section {
        name: "sldr",
        doc: "Slides.",
        keys: &[
            Key::new("sldr.enabled", K::Bool, D::Bool(false), "Offer slides.").not_built(NO_SLIDES),
            Key::new("sldr.binary", K::Text, D::Text("sldr-server"), "Its program.").not_built(NO_SLIDES),
            Key::new("sldr.user_base_port", K::Integer(1, 65_535), D::Integer(49_000), "First port of the users' services.")
                .not_built(NO_SLIDES),
            Key::new("sldr.user_port_range", K::Integer(1, 65_535), D::Integer(1000), "How many ports.").not_built(NO_SLIDES),
        ],
    },
    Section {
        name: "hstry",
        doc: "History.",
        keys: &[
            Key::new("hstry.enabled", K::Bool, D::Bool(true), "Keep history.").not_built(OWN_HISTORY),
            Key::new("hstry.binary", K::Text, D::Text("hstry"), "Its program.").not_built(OWN_HISTORY),
        ],
    },
    Section {
        name: "voice",
        doc: "Speech in and out.",
        keys: &[
            Key::new("voice.enabled", K::Bool, D::Bool(false), "Offer voice.").not_built(NO_VOICE),
            Key::new("voice.stt_url", K::Text, D::Text("ws://localhost:8765"), "Speech to text.").not_built(NO_VOICE),
            Key::new("voice.tts_url", K::Text, D::Text("ws://localhost:8766"), "Text to speech.").not_built(NO_VOICE),
            Key::new("voice.vad_timeout_ms", K::Integer(1, 600_000), D::Integer(1500), "Silence that ends a sentence.").not_built(NO_VOICE),
            Key::new("voice.default_voice", K::Text, D::Text("af_heart"), "Voice.").not_built(NO_VOICE),
            Key::new("voice.default_speed", K::Number(0.1), D::Number(1.0), "Speed.").not_built(NO_VOICE),
            Key::new("voice.auto_language_detect", K::Bool, D::Bool(true), "Find the language out.").not_built(NO_VOICE),
            Key::new("voice.tts_muted", K::Bool, D::Bool(false), "Start muted.").not_built(NO_VOICE),
            Key::new("voice.continuous_mode", K::Bool, D::Bool(true), "Listen on after an answer.").not_built(NO_VOICE),
            Key::new("voice.default_visualizer", K::Choice(&["orb", "kitt"]), D::Text("orb"), "Picture of the voice.").not_built(NO_VOICE),
            Key::new("voice.interrupt_word_count", K::Integer(0, 1000), D::Integer(2), "Words that interrupt an answer.")
                .not_built(NO_VOICE),
            Key::new("voice.interrupt_backoff_ms", K::Integer(0, 600_000), D::Integer(5000), "Pause between interruptions.")
                .not_built(NO_VOICE),
            Key::new(
                "voice.visualizer_voices",
                K::Map,
                D::Derived("orb: af_heart 1.0, kitt: am_michael 1.1"),
                "Voice and speed of each picture.",
            )
            .not_built(NO_VOICE),
        ],
    },
    Section {
        name: "agent_browser",
        doc: "Browsers that agents drive.",
        keys: &[
            Key::new("agent_browser.enabled", K::Bool, D::Bool(false), "Offer browsers.").not_built(NO_BROWSER),
            Key::new("agent_browser.binary", K::Text, D::Text("octo-browserd"), "Its daemon.").not_built(NO_BROWSER),
            Key::new("agent_browser.headed", K::Bool, D::Bool(false), "Show the window.").not_built(NO_BROWSER),
            Key::new("agent_browser.stream_port_base", K::Integer(1, 65_535), D::Integer(30_000), "First port of the streams.")
                .not_built(NO_BROWSER),
            Key::new("agent_browser.stream_port_range", K::Integer(1, 65_535), D::Integer(10_000), "How many ports.").not_built(NO_BROWSER),
            Key::new("agent_browser.executable_path", K::Path, D::None, "The browser.").not_built(NO_BROWSER),
            Key::new("agent_browser.extensions", K::List, D::List(&[]), "Its extensions.").not_built(NO_BROWSER),
        ],
    },
];
