//! The rival of `ecliptica bench rival`: Plonky3 proving Poseidon2-16 permutations over KoalaBear.
//!
//! Commands come one a line on standard input and each is answered with one JSON object on a line of standard
//! output, so that the bench can take turns between two provers that are both warm:
//!
//!     kernels
//!     prove LOG_ROWS QUERIES POW_BITS FILE
//!     verify LOG_ROWS QUERIES POW_BITS FILE
//!
//! The circuit has eight permutations a row and 164 columns a permutation. Commitments and transcript use
//! Poseidon2, challenges lie in the quintic extension, the blow-up is 2 and layers are folded by 8.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use p3_air::BaseAir;
use p3_air::symbolic::AirLayout;
use p3_challenger::DuplexChallenger;
use p3_commit::{ExtensionMmcs, Mmcs};
use p3_dft::{Radix2DitParallel, TwoAdicSubgroupDft};
use p3_field::extension::QuinticTrinomialExtensionField;
use p3_field::{Field, PackedValue};
use p3_fri::{FriParameters, TwoAdicFriPcs};
use p3_koala_bear::{
    GenericPoseidon2LinearLayersKoalaBear, KOALABEAR_POSEIDON2_HALF_FULL_ROUNDS,
    KOALABEAR_POSEIDON2_PARTIAL_ROUNDS_16, KOALABEAR_POSEIDON2_RC_16_EXTERNAL_FINAL,
    KOALABEAR_POSEIDON2_RC_16_EXTERNAL_INITIAL, KOALABEAR_POSEIDON2_RC_16_INTERNAL,
    KOALABEAR_S_BOX_DEGREE, KoalaBear, Poseidon2KoalaBear, default_koalabear_poseidon2_16,
};
use p3_matrix::dense::RowMajorMatrix;
use p3_maybe_rayon::prelude::current_num_threads;
use p3_merkle_tree::MerkleTreeMmcs;
use p3_poseidon2_air::{RoundConstants, VectorizedPoseidon2Air};
use p3_symmetric::{PaddingFreeSponge, Permutation, TruncatedPermutation};
use p3_uni_stark::{Proof, ProvenSecurity, StarkConfig, StarkSecurityParams, prove, verify};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The allocator of the crates' own examples.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WIDTH: usize = 16;
const RATE: usize = 8;
const DIGEST: usize = 8;
/// Permutations in a row.
const LANES: usize = 8;
const LOG_BLOWUP: usize = 1;
const LOG_ARITY: usize = 3;
const LOG_CAP: usize = 4;
const LOG_FINAL_LENGTH: usize = 3;
/// What the calculator of the crates is told: log2 of the challenge field, rounded down.
const CHALLENGE_BITS: usize = 154;
/// Bits: half of a digest of eight elements.
const COLLISION_BITS: usize = 124;
/// No constraint reads the next row.
const OPENING_POINTS: usize = 1;

/// Kernels: as `pipelines/bench_rival.py` has them, so that both sides do the same work.
const KERNEL_STATES: usize = 1 << 14;
const KERNEL_PASSES: usize = 16;
const DFT_LOG_ROWS: usize = 17;
const DFT_COLUMNS: usize = 64;

type Value = KoalaBear;
type Packed = <Value as Field>::Packing;
type Challenge = QuinticTrinomialExtensionField<Value>;
type Poseidon2 = Poseidon2KoalaBear<WIDTH>;
type RowHash = PaddingFreeSponge<Poseidon2, WIDTH, RATE, DIGEST>;
type Compression = TruncatedPermutation<Poseidon2, 2, DIGEST, WIDTH>;
type ValueTree = MerkleTreeMmcs<Packed, Packed, RowHash, Compression, 2, DIGEST>;
type ChallengeTree = ExtensionMmcs<Value, Challenge, ValueTree>;
type Transform = Radix2DitParallel<Value>;
type Transcript = DuplexChallenger<Value, Poseidon2, WIDTH, RATE>;
type Commitments = TwoAdicFriPcs<Value, Transform, ValueTree, ChallengeTree>;
type Configuration = StarkConfig<Commitments, Challenge, Transcript>;
type Circuit = VectorizedPoseidon2Air<
    Value,
    GenericPoseidon2LinearLayersKoalaBear,
    WIDTH,
    KOALABEAR_S_BOX_DEGREE,
    0,
    KOALABEAR_POSEIDON2_HALF_FULL_ROUNDS,
    KOALABEAR_POSEIDON2_PARTIAL_ROUNDS_16,
    LANES,
>;

type Answer = Result<String, Box<dyn Error>>;

/// Wall and processor time since a start.
struct Watch {
    started: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    /// Returns both as JSON members, NAME_seconds and NAME_cpu_seconds.
    fn fields(&self, name: &str) -> String {
        let (wall, cpu) = (
            self.started.elapsed().as_secs_f64(),
            cpu_seconds() - self.cpu,
        );
        format!("\"{name}_seconds\": {wall:.6}, \"{name}_cpu_seconds\": {cpu:.6}")
    }
}

/// Returns the processor time of all threads of this process.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live value of the type that the call fills.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Size and strength of one proof.
struct Shape {
    log_rows: usize,
    queries: usize,
    pow_bits: usize,
}

fn tree() -> ValueTree {
    let permutation = default_koalabear_poseidon2_16();
    let hash = RowHash::new(permutation.clone());
    ValueTree::new(hash, Compression::new(permutation), LOG_CAP)
}

fn fri_parameters(shape: &Shape) -> FriParameters<ChallengeTree> {
    FriParameters {
        log_blowup: LOG_BLOWUP,
        log_final_poly_len: LOG_FINAL_LENGTH,
        max_log_arity: LOG_ARITY,
        num_queries: shape.queries,
        commit_proof_of_work_bits: 0,
        query_proof_of_work_bits: shape.pow_bits,
        mmcs: ChallengeTree::new(tree()),
    }
}

fn configuration(shape: &Shape) -> Configuration {
    let commitments = Commitments::new(Transform::default(), tree(), fri_parameters(shape));
    Configuration::new(
        commitments,
        Transcript::new(default_koalabear_poseidon2_16()),
    )
}

fn circuit() -> Circuit {
    Circuit::new(RoundConstants::new(
        KOALABEAR_POSEIDON2_RC_16_EXTERNAL_INITIAL,
        KOALABEAR_POSEIDON2_RC_16_INTERNAL,
        KOALABEAR_POSEIDON2_RC_16_EXTERNAL_FINAL,
    ))
}

/// Returns the bits that the crates' own calculator proves for a shape.
fn proven_bits(shape: &Shape) -> usize {
    let air = circuit();
    let layout = AirLayout::from_air::<Value>(&air);
    let parameters = StarkSecurityParams::from_air::<Value, Challenge, _, _>(
        &fri_parameters(shape),
        &air,
        layout,
        CHALLENGE_BITS,
        COLLISION_BITS,
        OPENING_POINTS,
    );
    ProvenSecurity::compute(&parameters, 1 << shape.log_rows).security_bits()
}

fn prove_permutations(shape: &Shape, file: &str) -> Answer {
    let air = circuit();
    let permutations = LANES << shape.log_rows;
    let watch = Watch::start();
    let trace = air.generate_vectorized_trace_rows(permutations, LOG_BLOWUP);
    let traced = watch.fields("trace");
    let configuration = configuration(shape);
    let watch = Watch::start();
    let proof = prove(&configuration, &air, trace, &[]);
    let proven = watch.fields("proof");
    let encoded = postcard::to_allocvec(&proof)?;
    std::fs::write(file, &encoded)?;
    Ok(format!(
        "{{\"permutations\": {permutations}, \"columns\": {}, {traced}, {proven}, \
         \"proof_bytes\": {}, \"proven_bits\": {}}}",
        BaseAir::<Value>::width(&air),
        encoded.len(),
        proven_bits(shape),
    ))
}

fn verify_permutations(shape: &Shape, file: &str) -> Answer {
    let proof: Proof<Configuration> = postcard::from_bytes(&std::fs::read(file)?)?;
    if proof.degree_bits != shape.log_rows {
        return Err(format!("the proof has 2^{} rows", proof.degree_bits).into());
    }
    let started = Instant::now();
    verify(&configuration(shape), &circuit(), &proof, &[]).map_err(|error| format!("{error:?}"))?;
    Ok(format!(
        "{{\"verified\": true, \"seconds\": {:.6}}}",
        started.elapsed().as_secs_f64()
    ))
}

/// Times one thread's packed permutations in place, and extension and tree on all threads.
fn kernels() -> Answer {
    let mut random = SmallRng::seed_from_u64(1);
    let permutation = default_koalabear_poseidon2_16();
    let mut states: Vec<[Packed; WIDTH]> = (0..KERNEL_STATES / Packed::WIDTH)
        .map(|_| std::array::from_fn(|_| Packed::from_fn(|_| random.random())))
        .collect();
    let watch = Watch::start();
    for _ in 0..KERNEL_PASSES {
        for state in &mut states {
            permutation.permute_mut(state);
        }
    }
    let permuted = watch.fields("permutations");
    black_box(&states);

    let transform = Transform::default();
    let columns = RowMajorMatrix::<Value>::rand(&mut random, 1 << DFT_LOG_ROWS, DFT_COLUMNS);
    let watch = Watch::start();
    let values = black_box(transform.coset_lde_batch(columns, LOG_BLOWUP, Value::GENERATOR));
    let extended = watch.fields("extension");
    drop(values);

    let leaves = RowMajorMatrix::<Value>::rand(&mut random, 2 << DFT_LOG_ROWS, DFT_COLUMNS);
    let watch = Watch::start();
    black_box(tree().commit_matrix(leaves));
    let hashed = watch.fields("tree");
    Ok(format!(
        "{{{permuted}, {extended}, {hashed}, \"threads\": {}, \"lanes\": {}}}",
        current_num_threads(),
        Packed::WIDTH,
    ))
}

fn answer(line: &str) -> Answer {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["kernels"] => kernels(),
        [
            verb @ ("prove" | "verify"),
            log_rows,
            queries,
            pow_bits,
            file,
        ] => {
            let shape = Shape {
                log_rows: log_rows.parse()?,
                queries: queries.parse()?,
                pow_bits: pow_bits.parse()?,
            };
            if verb == "prove" {
                prove_permutations(&shape, file)
            } else {
                verify_permutations(&shape, file)
            }
        }
        _ => Err(format!("unknown command {line:?}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lock().lines() {
        let answered = answer(line?.trim_end())?;
        let mut out = stdout().lock();
        writeln!(out, "{answered}")?;
        out.flush()?;
    }
    Ok(())
}
