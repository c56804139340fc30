--- The table of findings: each has an id, how severe it is, what it means (for the documentation), what finds it, and
-- what to do about it, where `find` gives no better advice.
local finders = require("nexus_assistants.doctor.finders")

local findings = {}

--- All findings, with the field of what was seen that each is `about`, where it is one alone; of the same severity,
-- those that explain most come first.
findings.list = {
  { id = "requires_action_stuck", severity = "error", find = finders.requires_action_stuck,
    what = "The run waits for tool outputs that nobody gives.",
    advice = "Give create_and_poll a nexus.tool for each of these functions, or answer every call with "
      .. "submit_tool_outputs. A run waits for them until it expires, and its thread takes nothing else "
      .. "meanwhile." },
  { id = "call_ids_missing", severity = "error", about = "missing_call_ids",
    find = finders.call_ids_missing,
    what = "A submission lacks outputs that the run asked for.",
    advice = "Give one output for every tool call of required_action, in one submission; for a call that failed, "
      .. "give its error as the output." },
  { id = "call_ids_unknown", severity = "error", about = "unknown_call_ids",
    find = finders.call_ids_unknown,
    what = "A submission has outputs that the run did not ask for.",
    advice = "Take the ids from required_action of the run as it was last read: those of an earlier round don't "
      .. "count." },
  { id = "run_expired", severity = "error", find = finders.run_expired,
    what = "The run expired before it was done.",
    advice = "Start a new run; the thread is still there. Give tools a deadline well below the run's time, or have "
      .. "the run do less at once." },
  { id = "poll_deadline", severity = "error", about = "error",
    find = finders.poll_deadline,
    what = "The run was not done when the time to wait for it was over.",
    advice = "Give the wait a longer deadline, or the run less to do. Until the run has been cancelled or has ended, "
      .. "its thread takes no other run." },
  { id = "poll_stalled", severity = "error", about = "error",
    find = finders.poll_stalled,
    what = "Nothing of the run changed for too long, and the wait was given up.",
    advice = "Start the run again. If that happens often, look at the provider's status page, or allow more time "
      .. "without change." },
  { id = "run_incomplete", severity = "error", find = finders.run_incomplete,
    what = "The run ended before its answer was complete.",
    advice = "Look the reason up in the documentation of the provider; what the run wrote may be cut off." },
  { id = "server_error", severity = "error", find = finders.server_error,
    what = "The provider failed, not the request.",
    advice = "Start the run again, after a pause. If it keeps failing, give the provider the ids of the run and the "
      .. "request." },
  { id = "rate_limited", severity = "error", find = finders.rate_limited,
    what = "The run failed for the rate limit or the quota of the account.",
    advice = "Wait, then run less at the same time or with fewer tokens. If the message speaks of a quota, waiting "
      .. "does not help: look at the account's plan and billing." },
  { id = "active_run_conflict", severity = "warning", about = "active_run_id",
    find = finders.active_run_conflict,
    what = "Another run was active on the thread.",
    advice = "Use a thread from one place at a time. Wait for the other run or cancel it, before the thread gets a "
      .. "message or a run." },
  { id = "zombie_run", severity = "warning", find = finders.zombie_run,
    what = "The thread has an active run that this client did not start.",
    advice = "If nobody waits for it any more, as after a restart, settle it with threads:recover(thread_id)." },
  { id = "tool_failure_hidden", severity = "warning", about = "calls",
    find = finders.tool_failure_hidden,
    what = "The run completed although a tool failed.",
    advice = "Don't trust the answer unseen: the model may have made up what the tool did not say. Mend the tool, or "
      .. "tell the model in the instructions what to do when it fails." },
  { id = "tool_timeout", severity = "warning", about = "calls",
    find = finders.tool_timeout,
    what = "A tool did not finish within its time.",
    advice = "Make the tool faster or give it a longer deadline, still well below the time after which a run "
      .. "expires." },
  { id = "tool_unknown", severity = "warning", about = "calls",
    find = finders.tool_unknown,
    what = "The run called a function that is no tool.",
    advice = "Give create_and_poll every tool that the assistant or its instructions name, by the same names. The "
      .. "model was told that there is no such tool." },
  { id = "tool_bad_arguments", severity = "warning", about = "calls",
    find = finders.tool_bad_arguments,
    what = "The run called a tool with arguments that don't fit its parameters.",
    advice = "The model was told and may have tried again. If it happens often, say more in the descriptions of the "
      .. "parameters, or set strict." },
  { id = "tool_output_empty", severity = "warning", find = finders.tool_output_empty,
    what = "A tool's output was empty, so that the model learned nothing.",
    advice = "Return what the model should know, also when there is nothing to report: a text such as \"no results\" "
      .. "or a table." },
  { id = "tool_output_cut", severity = "warning", about = "calls",
    find = finders.tool_output_cut,
    what = "A tool's output was cut, to keep within what a submission may hold.",
    advice = "Return less: select or sum up in the tool, or give results by pages. All outputs of a submission "
      .. "together may have 512 kB." },
  { id = "file_search_empty", severity = "warning", about = "steps",
    find = finders.file_search_empty,
    what = "A file search found nothing, or results without their content.",
    advice = "No results: see whether the vector store belongs to the assistant or the thread and its files are "
      .. "processed. No content: read steps with "
      .. "include[]=step_details.tool_calls[*].file_search.results[*].content." },
  { id = "run_expiring", severity = "warning", find = finders.run_expiring,
    what = "The run took most of the time after which it expires.",
    advice = "Make tools faster or give them a deadline, or have several runs do the work; the next one may "
      .. "expire." },
  { id = "queued_too_long", severity = "warning", find = finders.queued_too_long,
    what = "The run was queued for 30 seconds or more.",
    advice = "The provider is busy, or the account has too many runs at the same time: run fewer at once, or "
      .. "later." },
  { id = "tokens_growing", severity = "warning", about = "turns",
    find = finders.tokens_growing,
    what = "Each run on the thread reads more than the one before, at least twice as much by now.",
    advice = "Bound what a run reads, with a truncation_strategy of the last messages or max_prompt_tokens, or go on "
      .. "in a new thread with a summary." },
  { id = "thread_leak", severity = "warning", about = "leaked_threads",
    find = finders.thread_leak,
    what = "Threads were created and never used again.",
    advice = "Delete threads that are done with, or use them again: they can't be listed later. "
      .. "client.threads:sweep{older_than=...} deletes those that this client made." },
}

return findings
