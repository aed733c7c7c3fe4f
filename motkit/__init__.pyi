from . import explorers as explorers
from . import survival as survival
from . import watch as watch
from .advocates import Advocates, find_advocates
from .arrivals import MomentWaits, moment_waits
from .assignment import Assignment, assign_actions
from .attention import fold_pings
from .beta_chances import chance_better
from .broken_promises import cost_of_breaking, judge_equivalence
from .candidates import Pattern, find_pattern, propose_candidates
from .card import CustomerCard, customer_card
from .card_of_study import study_card
from .changed_study import what_if
from .cohorts import cohort_retention
from .complaints import compare_resolution, complaint_promises, measure_complaints
from .consents import read_consents
from .contact_time import best_contact_time
from .customers import CustomerTable, customer_table
from .decider import Decider
from .deciding import study_decider
from .decision import Decision, Score
from .decision_log import judge_rule, logged_decisions
from .detection import detect_triggers, still_wanted
from .engagement import engagement_signals, score_engagement
from .engagement_hazard import EngagementHazard, fit_engagement_hazard
from .engagement_model import EngagementModel, fit_engagement
from .erasure import erase
from .events import EventLog, read_events
from .experiments import Comparison, compare_arms
from .flows import step_flows
from .followed import follow_customers
from .formats import describe_format, list_formats
from .frequency import FrequencyResponse, frequency_response
from .funnels import funnel, time_to_convert
from .holdouts import deal_arms, holdout, merge_holdouts
from .identity import Identities, last_login, stitch_identities
from .influence import step_influence
from .intents import evaluate_intents, read_intents
from .journey_map import JourneyMap, map_journey
from .journeys import Journey, read_journey
from .kinds import KindRule, add_kinds, read_kind_rules
from .large_fits import refine_personas
from .late_columns import find_late_columns
from .ledger import Ledger
from .lifecycle import lifecycle_states
from .lifts import compare_paths, step_lifts
from .linking import link_profiles, probable_links
from .live_signals import LiveSignals, start_live_signals
from .looks import confidence_sequence, plan_looks
from .made_contacts import simulate_contacts
from .moment_register import Moment, propose_register, read_moments, write_moments
from .moment_times import LeakageError
from .moment_triage import explore_moments
from .moments import Moments, find_moments
from .ocel import Ocel, read_ocel, write_ocel
from .off_policy import PolicyValue, off_policy_value
from .offer_scores import score_offers
from .offers import Offers, parse_offers, read_offers
from .onboarding import OnboardingTable, follow_up, loyalty_curve, onboarding_curve, onboarding_table
from .online_prices import replay_arrivals
from .paths import step_matrix, transitions
from .patterns import match_paths, pattern_shares
from .persona_cards import (
    audit_personas,
    check_signifiers,
    persona_examples,
    persona_habits,
    persona_rates,
    persona_signifiers,
    read_persona_names,
    write_persona_names,
)
from .persona_drift import follow_personas, match_personas, watch_personas
from .personas import Personas, build_personas
from .policy import Policy, parse_policy, read_policy
from .policy_batch import apply_policy
from .policy_lint import lint_policy
from .policy_reading import policy_waterfall, replay_policy
from .profiles import profiles_at, read_profiles
from .promise_outcomes import promise_cases
from .promise_register import Promise, Promises, read_promises
from .promises import check_promises, reaction_promise, waiting_times
from .qini_curves import qini
from .repeat_buying import fit_bgnbd, rfm
from .report import write_report
from .rollout import Programme, read_rollouts, write_rollout
from .rule_prices import price_rules, simulate_caps
from .sample_sizes import SamplePlan, plan_sample
from .satisfaction import Satisfaction, satisfaction_by_onboarding
from .schema import EVENTS, ONBOARDING, SESSIONS, check_table
from .sessions import session_table, split_sessions, weekly_sessions
from .settings import Settings, read_settings
from .simulate import Simulation, simulate_customers
from .small_cells import anonymity, hide_small_cells
from .sources import read_source
from .stability import population_stability
from .store import Store, open_store, write_store
from .story_logs import Story, simulate_story
from .study import DEMO_SETTINGS, run_study
from .study_folder import Study, open_study
from .threshold_drift import watch_thresholds
from .thresholds import Threshold, find_threshold
from .tidying import bundle_rare, conversation_table, fold_lifecycle
from .trigger_stream import TriggerStream
from .triggers import read_triggers
from .uplift_models import Uplift, uplift
from .visit_hours import visit_clock
from .whole_visit import last_page_versus_whole
from .xes import write_xes

__version__: str

__all__ = [
    "DEMO_SETTINGS",
    "EVENTS",
    "ONBOARDING",
    "SESSIONS",
    "Advocates",
    "Assignment",
    "Comparison",
    "CustomerCard",
    "CustomerTable",
    "Decider",
    "Decision",
    "EngagementHazard",
    "EngagementModel",
    "EventLog",
    "FrequencyResponse",
    "Identities",
    "Journey",
    "JourneyMap",
    "KindRule",
    "LeakageError",
    "Ledger",
    "LiveSignals",
    "Moment",
    "MomentWaits",
    "Moments",
    "Ocel",
    "Offers",
    "OnboardingTable",
    "Pattern",
    "Personas",
    "Policy",
    "PolicyValue",
    "Programme",
    "Promise",
    "Promises",
    "SamplePlan",
    "Satisfaction",
    "Score",
    "Settings",
    "Simulation",
    "Store",
    "Story",
    "Study",
    "Threshold",
    "TriggerStream",
    "Uplift",
    "add_kinds",
    "anonymity",
    "apply_policy",
    "assign_actions",
    "audit_personas",
    "best_contact_time",
    "build_personas",
    "bundle_rare",
    "chance_better",
    "check_promises",
    "check_signifiers",
    "check_table",
    "cohort_retention",
    "compare_arms",
    "compare_paths",
    "compare_resolution",
    "complaint_promises",
    "confidence_sequence",
    "conversation_table",
    "cost_of_breaking",
    "customer_card",
    "customer_table",
    "deal_arms",
    "describe_format",
    "detect_triggers",
    "engagement_signals",
    "erase",
    "evaluate_intents",
    "explore_moments",
    "explorers",
    "find_advocates",
    "find_late_columns",
    "find_moments",
    "find_pattern",
    "find_threshold",
    "fit_bgnbd",
    "fit_engagement",
    "fit_engagement_hazard",
    "fold_lifecycle",
    "fold_pings",
    "follow_customers",
    "follow_personas",
    "follow_up",
    "frequency_response",
    "funnel",
    "hide_small_cells",
    "holdout",
    "judge_equivalence",
    "judge_rule",
    "last_login",
    "last_page_versus_whole",
    "lifecycle_states",
    "link_profiles",
    "lint_policy",
    "list_formats",
    "logged_decisions",
    "loyalty_curve",
    "map_journey",
    "match_paths",
    "match_personas",
    "measure_complaints",
    "merge_holdouts",
    "moment_waits",
    "off_policy_value",
    "onboarding_curve",
    "onboarding_table",
    "open_store",
    "open_study",
    "parse_offers",
    "parse_policy",
    "pattern_shares",
    "persona_examples",
    "persona_habits",
    "persona_rates",
    "persona_signifiers",
    "plan_looks",
    "plan_sample",
    "policy_waterfall",
    "population_stability",
    "price_rules",
    "probable_links",
    "profiles_at",
    "promise_cases",
    "propose_candidates",
    "propose_register",
    "qini",
    "reaction_promise",
    "read_consents",
    "read_events",
    "read_intents",
    "read_journey",
    "read_kind_rules",
    "read_moments",
    "read_ocel",
    "read_offers",
    "read_persona_names",
    "read_policy",
    "read_profiles",
    "read_promises",
    "read_rollouts",
    "read_settings",
    "read_source",
    "read_triggers",
    "refine_personas",
    "replay_arrivals",
    "replay_policy",
    "rfm",
    "run_study",
    "satisfaction_by_onboarding",
    "score_engagement",
    "score_offers",
    "session_table",
    "simulate_caps",
    "simulate_contacts",
    "simulate_customers",
    "simulate_story",
    "split_sessions",
    "start_live_signals",
    "step_flows",
    "step_influence",
    "step_lifts",
    "step_matrix",
    "still_wanted",
    "stitch_identities",
    "study_card",
    "study_decider",
    "survival",
    "time_to_convert",
    "transitions",
    "uplift",
    "visit_clock",
    "waiting_times",
    "watch",
    "watch_personas",
    "watch_thresholds",
    "weekly_sessions",
    "what_if",
    "write_moments",
    "write_ocel",
    "write_persona_names",
    "write_report",
    "write_rollout",
    "write_store",
    "write_xes",
]
