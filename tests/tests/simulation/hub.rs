//! octo: its users, sessions, feeds and mux connections, reached by clients over wires, killed and started again.

use crate::prepared::Prepared;
use crate::runner::Place;
use axum::Router;
use futures_util::FutureExt as _;
use http::header::AUTHORIZATION;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use octo::auth::Surface;
use octo::state::{AppState, Inner};
use octo::telemetry::Telemetry;
use octo::users::{Users, UsersConfig};
use octo_actors::System;
use octo_e2e::sim::{Over, Plan};
use octo_e2e::wire::{Grip, Wire, pair};
use octo_e2e::{Dial, Stream};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

#[derive(Clone)]
struct Living {
    state: AppState,
    router: Router,
}

/// The place of octo. Clones share it.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    plan: Plan,
    runner: Place,
    /// What a token is checked against, and the token of the one user.
    place: Mutex<State>,
    pub token: String,
}

#[derive(Default)]
struct State {
    living: Option<Living>,
    starts: u64,
    connections: u64,
    /// The newest connection of each client.
    wires: Vec<Option<Grip>>,
    served: Vec<AbortHandle>,
    calm: bool,
}

impl Hub {
    pub fn new(prepared: &Prepared, plan: Plan, runner: Place) -> Self {
        let token = prepared.token();
        let wires = vec![None; plan.readers.len() + 1];
        Self(Arc::new(Shared { plan, runner, place: Mutex::new(State { wires, ..State::default() }), token }))
    }

    pub fn token(&self) -> &str {
        &self.0.token
    }

    /// Starts octo.
    pub async fn start(&self, prepared: &Prepared) {
        let starts = {
            let mut place = self.0.place.lock().unwrap();
            place.starts += 1;
            place.starts
        };
        let figures = Arc::<octo::figures::Figures>::default();
        let (system, shutdown, instance) = (System::new(), CancellationToken::new(), format!("instance-{starts}"));
        let users = Users::start(UsersConfig {
            launch: prepared.launch.clone(),
            dial: Some(Arc::new(self.0.runner.clone())),
            telemetry: Telemetry::off(),
            system: system.clone(),
            instance: instance.clone(),
            shutdown: shutdown.clone(),
            figures: figures.clone(),
        });
        let auth = prepared.authenticator();
        let state = AppState::new(Inner {
            settings: Arc::clone(&prepared.settings),
            config: Arc::new([]),
            accounts: prepared.accounts(&auth),
            auth,
            audit: prepared.audit.clone(),
            store: prepared.store.clone(),
            users: users.await.unwrap(),
            eavs: prepared.eavs.clone(),
            telemetry: Telemetry::off(),
            launch: prepared.launch.clone(),
            system,
            figures,
            shutdown,
            connections: TaskTracker::new(),
            acp: octo::acp::Connections::default(),
            instance,
            started_at: 0,
        });
        let router = Router::new().nest("/api", octo::mux::routes()).with_state(state.clone());
        self.0.place.lock().unwrap().living = Some(Living { state, router });
    }

    /// Kills it in whatever it is doing. Whether there was one.
    pub async fn kill(&self) -> bool {
        let (living, wires, served) = {
            let mut place = self.0.place.lock().unwrap();
            let wires: Vec<Grip> = place.wires.iter_mut().filter_map(Option::take).collect();
            (place.living.take(), wires, std::mem::take(&mut place.served))
        };
        let Some(living) = living else { return false };
        wires.iter().for_each(Grip::cut);
        served.iter().for_each(AbortHandle::abort);
        self.0.runner.forget_links();
        living.state.system.shutdown(Duration::ZERO).await;
        true
    }

    /// Breaks the connection of a client.
    pub fn cut(&self, client: usize) {
        let mut place = self.0.place.lock().unwrap();
        if let Some(grip) = place.wires.get_mut(client).and_then(Option::take) {
            grip.cut();
        }
    }

    /// From here on wires have no faults.
    pub fn calm(&self) {
        let wires: Vec<Grip> = {
            let mut place = self.0.place.lock().unwrap();
            place.calm = true;
            place.wires.iter_mut().filter_map(Option::take).collect()
        };
        wires.iter().for_each(Grip::cut);
    }

    /// How a client connects.
    pub fn dial(&self, client: usize) -> Dial {
        let hub = self.clone();
        Arc::new(move || {
            let dialled = hub.connect(client).map(|stream| Box::new(stream) as Box<dyn Stream>);
            async move { dialled }.boxed()
        })
    }

    fn connect(&self, client: usize) -> io::Result<DuplexStream> {
        let mut place = self.0.place.lock().unwrap();
        let living = place.living.clone().ok_or(io::ErrorKind::ConnectionRefused)?;
        place.connections += 1;
        let wire = if place.calm { Wire::whole() } else { self.0.plan.wire(Over::Client, place.connections) };
        let grip = Grip::default();
        let (octo, own) = pair(wire, grip.clone());
        place.wires[client] = Some(grip);
        let served = tokio::spawn(serve(living, octo)).abort_handle();
        place.served.retain(|served| !served.is_finished());
        place.served.push(served);
        Ok(own)
    }
}

/// Serves one connection as octo's own server does, from the first byte of HTTP on.
async fn serve(living: Living, stream: DuplexStream) {
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        let Living { state, router } = living.clone();
        async move {
            assert!(request.headers().contains_key(AUTHORIZATION));
            if let Ok(principal) = state.auth.authenticate(Surface::Upgrade, request.headers(), None) {
                request.extensions_mut().insert(principal);
            }
            router.oneshot(request.map(axum::body::Body::new)).await
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}
