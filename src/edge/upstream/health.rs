//! Asking backends whether they are well, before a request finds out.
//!
//! *Why not the checks that come with pingora?* Each holds a connector of its own, and a connector reads all of the
//! system's certificates when it is made: twice for every zone. One connector for all asks the same question in the
//! same few lines. A question has a connection of its own: one that is kept open says nothing of whether another could
//! be made.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{CONNECTION, HOST, USER_AGENT};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::head::host;
use super::pool::{Member, Pool};
use crate::edge::rescue::Known;
use crate::zone::{HealthCheck, Zone};

/// Asks everybody in the pool, for ever.
pub(super) async fn watch(connector: Arc<Connector>, pool: Arc<Pool>, check: HealthCheck) {
    let mut interval = tokio::time::interval(Duration::from_secs(u64::from(check.interval.seconds())));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let members = pool.members();
        join_all(members.iter().map(|member| look_at(&connector, &pool, member, &check))).await;
    }
}

async fn look_at(connector: &Connector, pool: &Pool, member: &Member, check: &HealthCheck) {
    let most = Duration::from_secs(u64::from(check.timeout.seconds()));
    let found = match tokio::time::timeout(most, ask(connector, &pool.zone, &member.template, check)).await {
        Ok(found) => found,
        Err(_) => Error::e_explain(ErrorType::ReadTimedout, "the answer took too long"),
    };
    if pool.checked(member, found.is_ok(), check) {
        let backend = member.template._address.to_string();
        match found {
            Ok(()) => tracing::info!(zone = %pool.zone.host, backend, "a backend is well again"),
            Err(fault) => {
                tracing::warn!(zone = %pool.zone.host, backend, fault = %Known(&fault), "a backend is not well");
            }
        }
    }
}

async fn ask(connector: &Connector, zone: &Zone, template: &HttpPeer, check: &HealthCheck) -> Result<()> {
    let mut peer = template.clone();
    // One question a connection, so that it is not kept for another.
    peer.options.max_h2_streams = 1;
    let (mut exchange, _) = connector.get_http_session(&peer).await?;
    let Some(path) = &check.path else { return Ok(()) };
    let mut head = RequestHeader::build("GET", path.as_bytes(), Some(2))?;
    head.insert_header(HOST, host(zone))?;
    head.insert_header(USER_AGENT, "zonegate")?;
    if zone.speaks_http2() {
        http2(&mut head, &peer)?;
    } else {
        head.insert_header(CONNECTION, "close")?;
    }
    exchange.write_request_header(Box::new(head)).await?;
    exchange.finish_request_body().await?;
    exchange.set_read_timeout(None);
    exchange.read_response_header().await?;
    let status = exchange.response_header().map_or(0, |head| head.status.as_u16());
    let good = check.status.map_or((200..400).contains(&status), |wanted| wanted == status);
    if good { Ok(()) } else { Error::e_explain(ErrorType::HTTPStatus(status), "the answer of a health check") }
}

/// HTTP/2 has the host in the target, and pingora leaves that to whoever sends a request by hand.
fn http2(head: &mut RequestHeader, peer: &HttpPeer) -> Result<()> {
    let Some(authority) = head.remove_header(&HOST) else { return Ok(()) };
    let uri = http::Uri::builder()
        .scheme(if peer.is_tls() { "https" } else { "http" })
        .authority(authority.as_bytes())
        .path_and_query(head.raw_path())
        .build()
        .map_err(|fault| Error::because(ErrorType::InvalidHTTPHeader, "a health check's target", fault))?;
    head.set_uri(uri);
    head.set_version(http::Version::HTTP_2);
    Ok(())
}
