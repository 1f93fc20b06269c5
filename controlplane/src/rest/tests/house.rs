//! A control plane with the demo data, asked without a socket. Never listens.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::codegen::Service;

use super::*;
use crate::{
    feed::{Instance, Joined},
    settings::Settings,
    telemetry::tests::{Fake, JOIN_TOKEN},
};

pub(crate) struct House {
    pub(crate) app: Arc<App>,
    router: Router,
    _joined: Option<Joined>,
    dir: TempDir,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null when the text is no JSON.
    pub(crate) body: Value,
}

impl House {
    pub(crate) async fn open(fake: Option<&Fake>) -> Self {
        let dir = TempDir::new().unwrap();
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let settings = Settings {
            data_dir: dir.path().to_owned(),
            database_url: None,
            http_listen: nowhere,
            grpc_listen: nowhere,
            join_token: JOIN_TOKEN.to_owned(),
            grpc_tls: None,
            query_tls_ca: None,
            access_token_s: 60,
            refresh_token_s: 600,
            package_bytes_max: 1 << 20,
            pack_devices: 2,
            pack_interval_s: 60,
            demo: true,
        };
        let app = App::open(&settings).await.unwrap();
        app.seed(&settings).await.unwrap();
        let joined = fake.and_then(|fake| app.registry().join(instance(fake)));
        Self { router: router(Arc::clone(&app)), app, _joined: joined, dir }
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Lets a data plane come later.
    pub(crate) fn join(&self, fake: &Fake) -> Option<Joined> {
        self.app.registry().join(instance(fake))
    }

    pub(crate) async fn ask(&self, method: &Method, path: &str, token: Option<&str>, body: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("x-authorization", format!("Bearer {token}"));
        }
        self.send(request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_owned()))).unwrap()).await
    }

    /// An upload: the bytes as the field `file` of a form.
    pub(crate) async fn upload(&self, path: &str, token: &str, (name, bytes): (&str, &str)) -> Answer {
        let form = format!(
            "--cut\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nignored\r\n--cut\r\ncontent-disposition: form-data; \
             name=\"file\"; filename=\"{name}\"\r\ncontent-type: text/plain\r\n\r\n{bytes}\r\n--cut--\r\n"
        );
        let request = Request::post(path)
            .header("x-authorization", format!("Bearer {token}"))
            .header("content-type", "multipart/form-data; boundary=cut")
            .body(Body::from(form));
        self.send(request.unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answering = self.router.clone().call(request);
        let response = tokio::time::timeout(Duration::from_secs(30), answering).await.unwrap().unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8(bytes.into()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: parts.status, headers: parts.headers, text, body }
    }

    pub(crate) async fn sign_in(&self, username: &str, password: &str) -> String {
        let form = json!({"username": username, "password": password}).to_string();
        let answer = self.ask(&Method::POST, "/api/auth/login", None, Some(&form)).await;
        answer.body["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    /// The id of a device that the demo has.
    pub(crate) async fn demo_device(&self, token: &str) -> String {
        let path = "/api/tenant/devices?pageSize=10&page=0&textSearch=Test%20Device%20A1";
        let page = self.ask(&Method::GET, path, Some(token), None).await;
        page.body["data"][0]["id"]["id"].as_str().unwrap_or_else(|| panic!("{page:?}")).to_owned()
    }
}

fn instance(fake: &Fake) -> Instance {
    Instance {
        instance_id: "fake".to_owned(),
        query_endpoint: fake.endpoint.clone(),
        device_endpoint: fake.device_endpoint.clone(),
        shards: 2,
        version: "0".to_owned(),
        connected: true,
        applied_epoch: String::new(),
        applied_revision: 0,
        refused: Vec::new(),
    }
}
