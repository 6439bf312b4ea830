//! Runs the incident of 7 May 2024 until Ctrl-C: `cargo run -p sim --example serve [SPEED] [PORT]`.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use sim::{Options, Sim, World};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let speed = args.next().map_or(Ok(1.0), |s| s.parse())?;
    let http_port = args.next().map_or(Ok(0), |p| p.parse())?;
    let options = Options { speed, http_port, ..Options::default() };
    let sim = Sim::start(World::incident_2024_05_07(), options).await?;
    println!("{}", sim.endpoint());
    println!("{}", serde_json::to_string_pretty(&sim.world_info())?);
    tokio::signal::ctrl_c().await?;
    sim.stop().await;
    Ok(())
}
