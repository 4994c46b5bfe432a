%% More hand-written scenarios: corners that the directed ones leave thin. The same words, no references: what the real
%% supervisor does is the rule.
-module(conf_corners).
-export([all/0]).
-import(conf_directed, [p/1, c/1, c/2, c/3, s/2, s/3, o/1, dyn/1, dyn/2, sup/2, sup/3, x/2, k/1, sig/2, obs/0, adv/1,
                        al/0, al/1, sc/1, sc/2, lb/1, lb/2, tc/1, tc/2, tp/1, rc/1, dc/1, gs/1, wc/0, cc/0, plan/2,
                        rel/0, as/2, down/0, down/1, err/1, hold/1, abc/0]).

all() ->
    [conf_directed:build(corner, corner(S))
     || S <- lists:append([specs(), wrong_kind(), dynamic(), dynamic_stop(), significant(), groups(), retries(),
                           intensity(), nested(), killed(), reasons(), queue()])].

corner({N, Rule, Sup, Steps}) -> {N, Rule, "", Sup, Steps};
corner({N, Rule, Sup, Plan, Steps}) -> {N, Rule, "", Sup, Plan, Steps}.

%% A supervisor that is busy until `rel()`.
busy() -> [plan(z, [hold(ok)]), as(sc(c(z)), r1)].
t(I) -> c(I, transient, #{significant => true}).
m(I) -> c(I, temporary, #{significant => true}).
any(Ch) -> s(one_for_one, #{auto_shutdown => any_significant}, Ch).
all(Ch) -> s(one_for_one, #{auto_shutdown => all_significant}, Ch).
i0(Ch) -> s(one_for_one, #{intensity => 0}, Ch).

%% ---- specs -------------------------------------------------------------------
specs() ->
    Bad = c(b, often),
    [{"spec/the_first_bad_child_is_told", "children are checked in order", o([c(a), c(b, #{shutdown => -5}), c(d, often)]), [obs()]},
     {"spec/significance_is_checked_before_later_children", "children are checked in order, significance included",
      o([t(a), Bad]), [obs()]},
     {"spec/significance_is_checked_before_the_shutdown", "within a child: restart, significant, type, shutdown",
      o([c(a, transient, #{significant => true, shutdown => soon})]), [obs()]},
     {"spec/restart_is_checked_before_significance", "within a child: restart, significant, type, shutdown",
      o([c(a, often, #{significant => true, shutdown => soon, type => helper})]), [obs()]},
     {"spec/significance_is_checked_before_the_type", "within a child: restart, significant, type, shutdown",
      o([c(a, transient, #{significant => true, type => helper})]), [obs()]},
     {"spec/type_is_checked_before_the_shutdown", "within a child: restart, significant, type, shutdown",
      o([c(a, #{type => helper, shutdown => soon})]), [obs()]},
     {"spec/significant_is_a_boolean", "significant must be true or false", any([c(a, transient, #{significant => maybe})]), [obs()]},
     {"spec/significant_is_a_boolean_also_under_never", "checked before the combination", o([c(a, #{significant => maybe})]), [obs()]},
     {"spec/not_significant", "false is the default", o([c(a, permanent, #{significant => false})]), [obs(), gs(a)]},
     {"spec/duplicate_before_a_bad_child", "a duplicate is told when it is met", o([c(a), c(a), Bad]), [obs()]},
     {"spec/bad_child_before_a_duplicate", "a bad child is told when it is met", o([Bad, c(a), c(a)]), [obs()]},
     {"spec/bad_duplicate", "a child is checked before its id is compared", o([c(a), c(a, often)]), [obs()]},
     {"spec/flags_before_children", "flags are checked first", s(one_for_one, #{period => 0}, [Bad]), [obs()]},
     {"spec/strategy_before_intensity", "strategy, intensity, period, auto_shutdown",
      s(two_for_one, #{intensity => -1, period => 0, auto_shutdown => sometimes}, abc()), [obs()]},
     {"spec/intensity_before_period", "strategy, intensity, period, auto_shutdown",
      s(one_for_one, #{intensity => -1, period => 0, auto_shutdown => sometimes}, abc()), [obs()]},
     {"spec/period_before_auto_shutdown", "strategy, intensity, period, auto_shutdown",
      s(one_for_one, #{period => -3, auto_shutdown => sometimes}, abc()), [obs()]},
     {"spec/intensity_is_a_number", "an intensity that is no number", s(one_for_one, #{intensity => many}, abc()), [obs()]},
     {"spec/period_is_a_number", "a period that is no number", s(one_for_one, #{period => infinity}, abc()), [obs()]},
     {"spec/strategy_is_a_word", "a strategy that is no word", #{strategy => 5, children => abc()}, [obs()]},
     {"spec/auto_shutdown_is_a_word", "an automatic shutdown that is no word", s(one_for_one, #{auto_shutdown => true}, abc()), [obs()]},
     {"spec/restart_is_a_word", "a restart type that is no word", o([c(a, #{restart => 7})]), [obs()]},
     {"spec/type_is_a_word", "a type that is no word", o([c(a, #{type => 7})]), [obs()]},
     {"spec/shutdown_is_no_boolean", "a shutdown that is a boolean", o([c(a, #{shutdown => true})]), [obs()]},
     {"spec/huge_intensity", "there is no upper limit of the intensity", s(one_for_one, #{intensity => 100000000000}, [c(a)]), [x(a, boom), x(a, boom), obs()]},
     {"spec/huge_period", "there is no upper limit of the period", s(one_for_one, #{intensity => 1, period => 100000000000}, [c(a)]), [x(a, boom), obs(), x(a, boom)]},
     {"spec/nested_bad_flags", "a child supervisor with bad flags fails to start", o([c(a), sup(s, s(two_for_one, [c(x)])), c(b)]), [obs()]},
     {"spec/nested_bad_child", "a child supervisor with a bad child fails to start", o([c(a), sup(s, o([c(x), c(y, often)]))]), [obs()]},
     {"spec/nested_duplicate", "a child supervisor with a duplicate fails to start", o([c(a), sup(s, o([c(x), c(x)]))]), [obs()]},
     {"spec/nested_two_templates", "a child supervisor with two templates fails to start", o([c(a), sup(s, s(simple_one_for_one, [c(x), c(y)]))]), [obs()]},
     {"spec/nested_bad_child_before_its_own_bad_spec", "the child's own words are checked before its supervisor is started",
      o([c(a), sup(s, #{restart => often}, s(two_for_one, []))]), [obs()]},
     {"spec/dynamic_bad_template", "the template is checked", dyn(c(t, often)), [obs()]},
     {"spec/dynamic_significant_under_never", "the template is checked", dyn(t(t)), [obs()]},
     {"spec/dynamic_significant_permanent", "the template is checked", dyn(#{auto_shutdown => any_significant}, c(t, #{significant => true})), [obs()]},
     {"spec/dynamic_two_templates_one_bad", "the number is checked first", s(simple_one_for_one, [c(a), Bad]), [obs()]},
     {"spec/dynamic_two_templates_same_id", "the number is checked first", s(simple_one_for_one, [c(a), c(a)]), [obs()]},
     {"spec/start_child_in_order", "an added child is checked like the others",
      o([c(a)]), [sc(c(b, often, #{significant => true, shutdown => soon})), sc(c(b, transient, #{significant => true, shutdown => soon})),
                  sc(c(b, #{type => helper, shutdown => soon})), sc(c(b, #{significant => maybe})), sc(c(b, #{shutdown => -1})), obs()]},
     {"spec/start_child_bad_duplicate", "the spec is checked before its id", o([c(a)]), [sc(c(a, often)), tc(a), sc(c(a, often)), sc(c(a)), obs()]},
     {"spec/start_child_bad_supervisor", "the added supervisor fails to start",
      o([c(a)]), [sc(sup(s, s(two_for_one, []))), sc(sup(s, o([c(x), c(x)]))), sc(sup(s, o([c(x, often)]))),
                  sc(sup(s, s(simple_one_for_one, []))), obs()]},
     {"spec/significant_shown", "get_childspec shows it", any([t(a), sup(s, #{restart => temporary, significant => true}, o([]))]), [gs(a), gs(s), obs()]},
     {"spec/bad_restart_of_supervisor_after_a_good_start", "a subtree whose flags are fine starts", any([c(a), sup(s, any([m(x)]))]), [obs(), x("s/x", boom), obs()]}].

%% ---- requests of the wrong kind --------------------------------------------------
wrong_kind() ->
    Pid = fun(Op, P) -> #{op => Op, pid_of => P} end,
    [{"wrong_kind/arguments_for_a_static_supervisor", "extra arguments are no child spec", o([c(a)]), [lb(d1), obs()]},
     {"wrong_kind/spec_for_a_dynamic_supervisor", "a spec is no list of arguments", dyn(c(t)), [sc(c(b)), obs()]},
     {"wrong_kind/unknown_path_static", "a path that never lived is no child",
      o([c(a)]), [Pid(terminate_child, <<"top/q">>), Pid(restart_child, <<"top/q">>), Pid(delete_child, <<"top/q">>), Pid(get_childspec, <<"top/q">>)]},
     {"wrong_kind/unknown_path_dynamic", "a path that never lived is no child",
      dyn(c(t)), [Pid(terminate_child, <<"top/q">>), Pid(restart_child, <<"top/q">>), Pid(delete_child, <<"top/q">>), Pid(get_childspec, <<"top/q">>)]},
     {"wrong_kind/process_static", "a process is no id of a static child",
      o([c(a)]), [Pid(restart_child, <<"top/a">>), Pid(delete_child, <<"top/a">>), Pid(get_childspec, <<"top/a">>), tc(a), Pid(terminate_child, <<"top/a">>)]},
     {"wrong_kind/process_dynamic", "a dynamic child is neither restarted nor deleted by request",
      dyn(c(t)), [lb(d1), Pid(restart_child, <<"top/d1">>), Pid(delete_child, <<"top/d1">>), Pid(restart_child, driver), Pid(delete_child, driver), obs()]},
     {"wrong_kind/supervisor_never_started", "a request to a path that never lived", o([c(a)]), [tc("q", a), lb("q", d1), obs()]},
     {"wrong_kind/signal_to_a_stopped_one", "no target, no effect", o([c(a), sup(s, o([]))]), [tc(s), sig("s", boom), x("s", boom), k("s"), obs()]}].

%% ---- simple_one_for_one -----------------------------------------------------------
dynamic() ->
    Gs = fun(P) -> #{op => get_childspec, pid_of => P} end,
    [{"dynamic/childspec_by_everything", "get_childspec by id, process, dead process, stranger",
      dyn(c(t, temporary, #{shutdown => brutal_kill})), [lb(d1), lb(d2), gs(t), gs(u), Gs(<<"top/d1">>), x(d1, boom), Gs(<<"top/d1">>), Gs(driver)]},
     {"dynamic/childspec_of_a_restarting_one", "get_childspec by the old process of a restarting child",
      dyn(c(t)), [lb(d1), plan(d1, [hold(err(e1))]), x(d1, boom), as(Gs(<<"top/d1">>), r1), rel(), obs()]},
     {"dynamic/two_restarting", "two children are restarted by turns", dyn(c(t)),
      [lb(d1), lb(d2), lb(d3), plan(d1, [hold(err(e1)), err(e2)]), plan(d2, [err(e3), err(e4)]), x(d1, boom), k(d2), as(wc(), r1), rel(), obs()]},
     {"dynamic/restarting_counted", "retries of two children share the intensity", dyn(#{intensity => 3}, c(t)),
      [lb(d1), lb(d2), plan(d1, [hold(err(e1)), err(e2)]), plan(d2, [err(e3), err(e4)]), x(d1, boom), k(d2), as(cc(), r1), rel()]},
     {"dynamic/exit_while_another_restarts", "an exit is served before the retry behind it", dyn(#{intensity => 2}, c(t)),
      [lb(d1), lb(d2), plan(d1, [hold(err(e1))]), x(d1, boom), x(d2, boom), rel(), obs()]},
     {"dynamic/start_while_another_restarts", "a start is served before the retry behind it", dyn(c(t)),
      [lb(d1), plan(d1, [hold(err(e1))]), x(d1, boom), as(lb(d2), r1), as(wc(), r2), rel(), obs(), down()]},
     {"dynamic/terminate_another_while_one_restarts", "requests are served before the retry", dyn(c(t, #{shutdown => brutal_kill})),
      [lb(d1), lb(d2), plan(d1, [hold(err(e1))]), x(d1, boom), as(tp(d2), r1), rel(), obs()]},
     {"dynamic/info_on_restart", "{ok,Pid,Info} on restart is fine", dyn(c(t)), [lb(d1), plan(d1, [#{ok_info => i}]), x(d1, boom), obs()]},
     {"dynamic/held_start_then_exit", "a start held; others die meanwhile", dyn(c(t, temporary)),
      [lb(d1), lb(d2), plan(d3, [hold(#{init_exit => no})]), as(lb(d3), r1), x(d1, boom), k(d2), as(cc(), r2), rel(), obs()]},
     {"dynamic/active_counts_the_dead_until_their_exit_is_served", "count_children of a dynamic supervisor does not look whether they live", dyn(c(t)),
      [lb(d1), lb(d2), plan(d3, [hold(ok)]), as(lb(d3), r1), as(cc(), r2), as(wc(), r3), k(d1), rel(), obs()]},
     {"dynamic/ignored_restart_of_two", "one entry for all ignored restarts", dyn(c(t)),
      [lb(d1), lb(d2), lb(d3), plan(d1, [ignore]), plan(d2, [ignore]), x(d1, boom), wc(), x(d2, boom), wc(), cc()]},
     {"dynamic/ignored_restart_after_a_failed_one", "ignored at the second attempt", dyn(c(t)),
      [lb(d1), lb(d2), plan(d1, [err(e1), ignore]), x(d1, boom), wc(), cc()]},
     {"quirk/terminating_a_dead_stranger_forgets_the_ignored_entry", "OTP 25: del_child erases the entry with pid undefined", dyn(c(t, transient)),
      [lb(d1), lb(d2), lb(d3), x(d3, normal), plan(d1, [ignore]), x(d1, boom), wc(), tp(d3), wc(), cc(), down()]},
     {"quirk/terminating_the_ignored_one_forgets_it", "OTP 25: as above, by its own last process", dyn(c(t)),
      [lb(d1), lb(d2), plan(d1, [ignore]), x(d1, boom), tp(d1), wc(), cc(), down()]},
     {"quirk/terminate_twice_while_restarting", "OTP 25: only the first finds it", dyn(c(t)),
      [lb(d1), lb(d2), lb(d3), plan(d1, [hold(err(e1))]), x(d1, boom), as(tp(d1), r1), as(tp(d1), r2), rel(), wc(), cc()]},
     {"dynamic/exhausted_by_retries", "over the limit while another one is restarting", dyn(#{intensity => 1}, c(t)),
      [lb(d1), lb(d2), lb(d3), plan(d1, [hold(err(e1))]), x(d1, boom), k(d2), rel()]},
     {"dynamic/same_label_twice", "two children of the same arguments", dyn(c(t)), [lb(d1), lb(d1), obs(), x(d1, boom), obs()]},
     {"dynamic/supervisors_restart_fails", "a dynamic supervisor child fails to restart", dyn(sup(t, o([c(x), c(y)]))),
      [lb(d1), lb(d2), plan("d1/y", [err(e1), err(e2)]), x("d1", boom), obs(), down()]},
     {"dynamic/transient_supervisors", "a transient supervisor over its limit is gone", dyn(sup(t, #{restart => transient}, i0([c(x)]))),
      [lb(d1), lb(d2), x("d1/x", boom), obs(), tp(d1), obs()]},
     {"dynamic/nested_dynamic", "dynamic below dynamic", dyn(sup(t, dyn(c(u)))),
      [lb(d1), lb(d2), lb("d1", e1), lb("d1", e2), lb("d2", e1), obs(), x("d1/e1", boom), obs(), tp(d1), obs(), down()]}].

dynamic_stop() ->
    Ends = [{"plain", #{}}, {"brutal", #{shutdown => brutal_kill}}, {"infinity", #{shutdown => infinity}},
            {"untrapped", #{trap_exit => false}}, {"untrapped_brutal", #{trap_exit => false, shutdown => brutal_kill}},
            {"untrapped_infinity", #{trap_exit => false, shutdown => infinity}},
            {"exits_normally", #{on_shutdown => #{exit => normal}}}, {"exits_oddly", #{on_shutdown => #{exit => oops}}},
            {"exits_shutdown_tuple", #{on_shutdown => #{exit => {shutdown, late}}}},
            {"delays", #{on_shutdown => #{delay_ms => 10}}}, {"too_slow", #{shutdown => 20, on_shutdown => #{delay_ms => 2000}}},
            {"slow_infinity", #{shutdown => infinity, on_shutdown => #{delay_ms => 60}}},
            {"stubborn", #{shutdown => 30, on_shutdown => ignore}}],
    [{"dynamic_stop/" ++ N, "terminate one, let one die, stop the rest",
      dyn(c(t, M)), [lb(d1), lb(d2), lb(d3), lb(d4), tp(d2), obs(), x(d3, boom), obs(), k(d1), obs(), down()]} || {N, M} <- Ends]
        ++
    [{"dynamic_stop/nested_" ++ N, "the dynamic supervisor is stopped by its parent, restarted by it, and over its limit",
      s(one_for_all, [c(a), sup(s, dyn(#{intensity => 1}, c(t, M))), c(b)]),
      [lb("s", d1), lb("s", d2), lb("s", d3), x(b, boom), obs(), lb("s", d4), lb("s", d5), x("s/d4", boom), x("s/d5", boom), obs(),
       lb("s", d6), tc(s), obs(), rc(s), lb("s", d7), down()]} || {N, M} <- Ends]
        ++
    [{"dynamic_stop/dead_ones_unserved", "a child that died before the stop is served is skipped", dyn(c(t, #{shutdown => brutal_kill})),
      [lb(d1), lb(d2), plan(d3, [hold(ok)]), as(lb(d3), r1), as(down(), r2), k(d1), rel()]},
     {"dynamic_stop/dead_ones_served_first", "exits before the stop are served: one too many", dyn(#{intensity => 0}, c(t, #{shutdown => brutal_kill})),
      [lb(d1), lb(d2), plan(d3, [hold(ok)]), as(lb(d3), r1), k(d1), as(down(boom), r2), rel()]},
     {"dynamic_stop/infinity_and_a_request", "requests wait behind the stop", dyn(c(t, #{shutdown => infinity, on_shutdown => ignore})),
      [lb(d1), lb(d2), as(down(), r1), as(wc(), r2), as(lb(d3), r3), x(d1, normal), x(d2, oops)]},
     {"dynamic_stop/killed_from_outside_while_stopping", "a stubborn child is killed by somebody else", dyn(c(t, #{shutdown => infinity, on_shutdown => ignore})),
      [lb(d1), lb(d2), as(down(), r1), k(d2), k(d1)]},
     {"dynamic_stop/terminate_infinity", "terminate_child waits", dyn(c(t, #{shutdown => infinity, on_shutdown => ignore})),
      [lb(d1), lb(d2), as(tp(d1), r1), as(wc(), r2), adv(20), k(d2), x(d1, normal), obs()]}].

%% ---- significant children ------------------------------------------------------------
significant() ->
    Rfo = fun(A, Ch) -> s(rest_for_one, #{auto_shutdown => A}, Ch) end,
    Ofa = fun(A, Ch) -> s(one_for_all, #{auto_shutdown => A}, Ch) end,
    [{"significant/over_the_limit", "an abnormal end over the limit ends the supervisor as usual", (any([c(a), t(b)]))#{intensity => 0}, [x(b, boom)]},
     {"significant/all_waits_for_a_restarting_one", "a restarting one counts as alive", all([t(a), t(b)]),
      [plan(a, [hold(err(e1))]), x(a, boom), x(b, normal), rel(), obs(), x(a, normal)]},
     {"significant/all_terminated_while_restarting", "a restarting one that is terminated does not count; terminating does not trigger", all([t(a), t(b)]),
      [x(b, normal), plan(a, [hold(err(e1))]), x(a, boom), as(tc(a), r1), rel(), obs(), rc(b), x(b, shutdown)]},
     {"significant/all_deleted_ones_do_not_count", "a deleted one is not waited for", all([t(a), t(b)]), [tc(a), dc(a), x(b, normal)]},
     {"significant/all_ignored_on_restart", "ignored on restart: no process, not waited for; ignoring does not trigger", all([t(a), t(b)]),
      [plan(a, [ignore]), x(a, boom), obs(), x(b, normal)]},
     {"significant/any_ignored_on_restart", "ignoring on restart does not trigger", any([t(a), t(b)]), [plan(a, [ignore]), x(a, boom), obs(), x(b, {shutdown, x})]},
     {"significant/added_and_ignored", "an added one that ignores is not waited for", all([t(a)]), [plan(z, [ignore]), sc(t(z)), obs(), x(a, normal)]},
     {"significant/added_temporary_and_ignored", "it is not kept", all([t(a)]), [plan(z, [ignore]), sc(m(z)), obs(), x(a, normal)]},
     {"significant/restart_child_then_normal", "restarted by request it is significant again", any([t(a), c(b)]), [tc(a), rc(a), obs(), x(a, normal)]},
     {"significant/rest_for_one_any", "a normal end does not restart the later ones, it ends all", Rfo(any_significant, [c(a), t(b), c(d)]), [x(b, boom), obs(), x(b, normal)]},
     {"significant/rest_for_one_all", "the last one ends all", Rfo(all_significant, [t(a), c(b), m(d)]), [x(a, normal), obs(), x(d, boom)]},
     {"significant/one_for_all_all", "a group restart brings back the ended ones", Ofa(all_significant, [t(a), t(b), c(d)]), [x(a, normal), obs(), x(d, boom), obs(), x(b, normal), obs(), x(a, shutdown)]},
     {"significant/one_for_all_temporary_gone_then_last", "a temporary one stopped by the group restart is gone", Ofa(all_significant, [c(a), m(b), t(d)]), [x(a, boom), obs(), x(d, normal)]},
     {"significant/one_for_all_only_temporary_gone", "nobody significant is left and nobody triggers", Ofa(all_significant, [c(a), m(b)]), [x(a, boom), obs(), x(a, boom), obs()]},
     {"significant/killed_supervisor", "a killed significant temporary supervisor triggers", any([c(a), sup(s, #{restart => temporary, significant => true}, o([c(x)]))]), [k("s")]},
     {"significant/killed_transient_supervisor", "a killed significant transient supervisor is restarted", any([c(a), sup(s, #{restart => transient, significant => true}, o([c(x)]))]), [k("s"), obs(), x("s", normal)]},
     {"significant/cascade_of_three", "shutdown climbs three levels", any([c(a), sup(s, #{restart => transient, significant => true},
        any([c(x), sup(u, #{restart => transient, significant => true}, any([c(v), t(w)]))]))]), [x("s/u/w", normal)]},
     {"significant/cascade_stops_at_all", "all_significant above waits for the others", all([t(a), sup(s, #{restart => transient, significant => true}, any([c(x), t(y)]))]),
      [x("s/y", normal), obs(), x(a, normal)]},
     {"significant/dynamic_supervisors", "dynamic significant supervisors", dyn(#{auto_shutdown => all_significant}, sup(t, #{restart => transient, significant => true}, any([c(x), t(y)]))),
      [lb(d1), lb(d2), x("d1/y", normal), obs(), x("d2/y", boom), x("d2/y", normal)]},
     {"significant/dynamic_all_with_a_restarting_one", "a restarting one is waited for", dyn(#{auto_shutdown => all_significant}, t(t)),
      [lb(d1), lb(d2), plan(d1, [hold(err(e1))]), x(d1, boom), x(d2, normal), rel(), obs(), x(d1, normal)]},
     {"quirk/significant_dynamic_all_with_an_ignored_one", "OTP 25: the entry of an ignored restart is waited for for ever", dyn(#{auto_shutdown => all_significant}, t(t)),
      [lb(d1), lb(d2), plan(d1, [ignore]), x(d1, boom), x(d2, normal), wc(), cc()]},
     {"significant/dynamic_any_temporary_killed", "any end of a temporary one triggers", dyn(#{auto_shutdown => any_significant}, (m(t))#{shutdown => brutal_kill}), [lb(d1), lb(d2), lb(d3), k(d2)]},
     {"significant/dynamic_not_significant", "auto_shutdown without significance", dyn(#{auto_shutdown => any_significant}, c(t, temporary)), [lb(d1), lb(d2), x(d1, normal), k(d2), obs()]},
     {"significant/two_exits_queued", "the second exit finds nobody", any([m(a), m(b), c(d)]), busy() ++ [x(a, boom), x(b, boom), rel()]},
     {"significant/all_two_exits_queued", "the second exit is the last", all([m(a), m(b), c(d)]), busy() ++ [x(a, boom), x(b, boom), k(d), rel()]},
     {"significant/all_exit_and_termination_queued", "the termination comes first and does not trigger", all([m(a), t(b), c(d)]), busy() ++ [as(tc(b), r2), x(a, boom), rel()]},
     {"significant/all_termination_after_the_exit", "the exit does not trigger, for the other one lives; its termination does not either", all([m(a), t(b), c(d)]), busy() ++ [x(a, boom), as(tc(b), r2), rel(), obs()]},
     {"significant/requests_behind_the_trigger", "what is asked behind it is not answered", any([c(a), m(b)]), busy() ++ [x(b, normal), as(wc(), r2), as(tc(a), r3), rel()]},
     {"significant/start_failure_at_first_start", "a significant child that cannot start", any([c(a), t(b)]), #{b => [err(no)]}, [obs()]},
     {"significant/exhausted_retries", "retries of a significant child exhaust the limit", (any([c(a), t(b)]))#{intensity => 2}, [plan(b, [err(e1), err(normal), err(e3)]), x(b, boom)]}].

%% ---- group restarts --------------------------------------------------------------------
groups() ->
    Rfo = fun(Ch) -> s(rest_for_one, Ch) end,
    Ofa = fun(Ch) -> s(one_for_all, Ch) end,
    Mixed = [c(a), c(b, temporary), c(d, transient, #{shutdown => brutal_kill}), c(e, #{trap_exit => false}),
             c(f, #{on_shutdown => #{exit => oops}}), c(g, #{shutdown => 30, on_shutdown => ignore}), sup(s, o([c(x), c(y, temporary)]))],
    [{"group/one_for_all_of_all_kinds", "children of all kinds are stopped and started", Ofa(Mixed), [x(d, boom), obs(), k(s), obs(), x(e, {shutdown, q}), obs(), down()]},
     {"group/rest_for_one_of_all_kinds", "children of all kinds are stopped and started", Rfo(Mixed), [x(d, boom), obs(), x(e, normal), obs(), x(g, normal), obs(), k(a), obs(), down()]},
     {"group/ignored_ones_are_tried_again", "one that ignores now and starts later", Ofa(abc()), #{b => [ignore, ok, ignore]}, [obs(), x(a, boom), obs(), x(c, boom), obs()]},
     {"group/rest_for_one_ignored_earlier_one_is_left", "an earlier one without a process stays without", Rfo(abc()), #{a => [ignore]}, [x(b, boom), obs(), rc(a), obs()]},
     {"group/the_failed_one_ignores", "the one that failed ignores, the others come back", Ofa(abc()), [plan(b, [ignore]), x(b, boom), obs(), rc(b), obs()]},
     {"group/temporary_added_later", "an added temporary one is dropped by the group", Rfo([c(a), c(b)]), [sc(c(z, temporary)), sc(c(y)), x(b, boom), obs(), down()]},
     {"group/all_temporary_but_one", "only one is left", Ofa([c(t1, temporary), c(a), c(t2, temporary)]), [x(a, boom), obs(), x(a, boom), obs(), down()]},
     {"group/transient_ended_later_ones", "rest_for_one starts later transient ones that had ended", Rfo([c(a), c(b, transient), c(d, transient)]), [x(b, normal), x(d, shutdown), obs(), x(a, boom), obs()]},
     {"group/nested_fails_to_start", "a nested supervisor fails within the group", Ofa([c(a), sup(s, o([c(x), c(y)])), c(b)]), [plan("s/y", [err(e1)]), x(a, boom), obs()]},
     {"group/nested_fails_after_itself", "a nested supervisor over its limit fails to come back", Rfo([c(a), sup(s, i0([c(x), c(y)])), c(b)]), [plan("s/x", [err(e1), #{raise => e2}]), x("s/y", boom), obs()]},
     {"group/stop_order_after_delete_and_add", "order is the order of adding", Ofa(abc()), [tc(b), dc(b), sc(c(b)), x(a, boom), obs(), down()]},
     {"group/first_start_half_way", "the first start fails in the middle of all kinds", Ofa(Mixed ++ [c(h)]), #{h => [#{raise => no}]}, [obs()]}].

%% ---- retries -----------------------------------------------------------------------------
retries() ->
    Rfo = fun(Ch) -> s(rest_for_one, #{intensity => 9}, Ch) end,
    Ofa = fun(Ch) -> s(one_for_all, #{intensity => 9}, Ch) end,
    Four = [c(a), c(b), c(d), c(e)],
    [{"retry/rest_for_one_earlier_dies_before_it", "the earlier one's restart covers the retry", Rfo(Four), [plan(d, [hold(err(e1))]), x(d, boom), k(a), rel(), obs()]},
     {"retry/rest_for_one_later_started_by_request", "a later one started by request is stopped by the retry", Rfo(Four), [plan(d, [hold(err(e1))]), x(b, boom), as(rc(e), r1), rel(), obs()]},
     {"retry/rest_for_one_start_refused_of_the_restarting", "the restarting one is not started by request", Rfo(Four), [plan(d, [hold(err(e1))]), x(b, boom), as(rc(d), r1), as(sc(c(d)), r2), as(sc(c(e)), r3), rel(), obs()]},
     {"retry/rest_for_one_later_deleted", "a later one is deleted before the retry", Rfo(Four), [plan(d, [hold(err(e1))]), x(b, boom), as(dc(e), r1), rel(), obs()]},
     {"retry/rest_for_one_added", "one added before the retry is restarted by it", Rfo(Four), [plan(d, [hold(err(e1))]), x(b, boom), as(sc(c(z)), r1), rel(), obs()]},
     {"retry/rest_for_one_terminated", "the restarting one is terminated: those after it stay down", Rfo(Four), [plan(d, [hold(err(e1))]), x(b, boom), as(tc(d), r1), rel(), obs(), x(a, boom), obs()]},
     {"retry/rest_for_one_earlier_terminated", "an earlier one is terminated: the retry leaves it alone", Rfo(Four), [plan(d, [hold(err(e1))]), x(b, boom), as(tc(b), r1), rel(), obs()]},
     {"retry/one_for_all_others_started_by_request", "one started by request is stopped by the retry", Ofa(Four), [plan(b, [hold(err(e1))]), x(d, boom), as(rc(e), r1), as(rc(d), r2), rel(), obs()]},
     {"retry/one_for_all_terminated", "the restarting one is terminated: the rest of the group stays down", Ofa(Four), [plan(b, [hold(err(e1))]), x(d, boom), as(tc(b), r1), rel(), obs(), x(a, boom), obs()]},
     {"retry/one_for_all_terminated_and_restarted", "the retry finds it running and does nothing", Ofa(Four), [plan(b, [hold(err(e1))]), x(d, boom), as(tc(b), r1), as(rc(b), r2), rel(), obs()]},
     {"retry/one_for_all_deleted_and_added", "the retry finds a running child of the same id", Ofa(Four), [plan(b, [hold(err(e1))]), x(d, boom), as(tc(b), r1), as(dc(b), r2), as(sc(c(b)), r3), rel(), obs()]},
     {"retry/one_for_all_added", "one added before the retry is restarted by it", Ofa([c(a), c(b)]), [plan(b, [hold(err(e1))]), x(a, boom), as(sc(c(z)), r1), as(sc(c(y, temporary)), r2), rel(), obs()]},
     {"retry/two_messages_for_one_child", "terminated, restarted, failed again: two retries are queued",
      o([c(a), c(b)]), [plan(a, [hold(err(e1)), hold(ok), err(e2), err(e3)]), x(a, boom), as(tc(a), r1), as(rc(a), r2), rel(), as(wc(), r3), rel(), x(a, boom), obs()]},
     {"retry/of_two_children", "two children by turns", o(abc()), [plan(a, [hold(err(e1)), err(e2)]), plan(b, [err(e3), err(e4)]), x(a, boom), k(b), rel(), obs()]},
     {"retry/ignored_at_the_second_attempt", "ignored at last", o(abc()), [plan(a, [err(e1), ignore]), x(a, boom), obs(), rc(a), obs()]},
     {"retry/group_ignored_at_the_second_attempt", "ignored at last", Ofa(abc()), [plan(a, [err(e1), ignore]), x(c, boom), obs(), down()]},
     {"retry/held_twice", "two attempts, both held", o(abc()), [plan(a, [hold(err(e1)), hold(err(e2))]), x(a, boom), as(wc(), r1), rel(), as(wc(), r2), rel(), obs()]},
     {"retry/shutdown_of_the_group", "a stop before the retry of a group", Rfo(Four), [plan(d, [hold(err(e1))]), x(b, boom), as(down(), r1), rel()]},
     {"retry/transient_over_and_over", "a transient one whose restart fails normally", o([c(a, transient), c(b)]), [plan(a, [err(normal), err(shutdown), err({shutdown, x})]), x(a, boom), obs()]},
     {"retry/of_a_supervisor", "a nested supervisor's start is held and fails", o([c(a), sup(s, i0([c(x), c(y)]))]), [plan("s/y", [hold(err(e1))]), x("s/x", boom), as(wc(), r1), as(tc(s), r2), k(a), rel(), obs()]},
     {"retry/raised_and_exited", "all ways to fail", o([c(a), c(b)]), [plan(a, [#{raise => e1}, #{init_exit => e2}, err({shutdown, e3}), #{init_exit => normal}]), x(a, boom), obs()]},
     {"retry/child_started_within_the_failed_group_is_significant", "a significant one that ends between attempt and retry",
      s(one_for_all, #{auto_shutdown => any_significant}, [t(a), c(b), c(d)]), [plan(b, [hold(err(e1))]), x(d, boom), x(a, normal), rel()]}].

%% ---- intensity -----------------------------------------------------------------------------
intensity() ->
    S = fun(N, P, Ch) -> s(one_for_one, #{intensity => N, period => P}, Ch) end,
    [{"intensity/counted_when_the_exit_is_served", "not when it happened", S(1, 1, [c(a), c(b)]), [al()] ++ busy() ++ [k(a), adv(2300), rel(), k(b), obs()]},
     {"intensity/two_exits_served_together", "two exits seconds apart are served together", S(1, 1, [c(a), c(b)]), [al()] ++ busy() ++ [k(a), adv(2300), k(b), rel()]},
     {"intensity/retries_seconds_apart", "a failed attempt that takes long", S(1, 1, [c(a)]), [al(), plan(a, [hold(err(e1)), hold(err(e2))]), x(a, boom), adv(2300), rel(), adv(2300), rel(), obs()]},
     {"intensity/retries_within_the_period", "failed attempts within the period", S(1, 1, [c(a)]), [al(), plan(a, [hold(err(e1)), err(e2)]), x(a, boom), adv(1400), rel()]},
     {"intensity/many_seconds", "a steady rate below the limit", S(2, 1, [c(a)]), [al()] ++ lists:append([[x(a, boom), adv(1000)] || _ <- lists:seq(1, 5)]) ++ [obs()]},
     {"intensity/steady_rate_at_the_limit", "a steady rate at the limit of 1 in 1 s", S(1, 1, [c(a)]), [al(), x(a, boom), adv(2000), x(a, boom), adv(2000), x(a, boom), obs(), adv(1000), x(a, boom)]},
     {"intensity/period_three", "exactly the period, and a second more", S(1, 3, [c(a)]), [al(300), x(a, boom), adv(4000), x(a, boom), obs(), adv(3000), x(a, boom)]},
     {"intensity/burst_then_quiet", "a burst is forgotten as a whole", S(3, 1, [c(a), c(b)]), [al(), x(a, boom), x(b, boom), x(a, boom), adv(2100), x(a, boom), x(b, boom), x(a, boom), obs(), x(b, boom)]},
     {"intensity/dynamic_window", "the same for dynamic children", dyn(#{intensity => 1, period => 1}, c(t)), [lb(d1), lb(d2), al(), x(d1, boom), adv(2200), x(d2, boom), obs(), adv(1000), x(d1, boom)]},
     {"intensity/group_window", "the same for groups", s(one_for_all, #{intensity => 1, period => 1}, abc()), [al(), x(a, boom), adv(2200), x(c, boom), obs(), adv(1000), x(b, boom)]},
     {"intensity/slow_stop_takes_time", "a slow stop of a sibling counts as time", s(one_for_all, #{intensity => 1, period => 1}, [c(a), c(b, #{on_shutdown => #{delay_ms => 2300}})]), [al(), x(a, boom), x(a, boom), obs()]},
     {"intensity/restart_child_within_a_failed_series", "requests do not reset the count", S(2, 30, [c(a)]), [x(a, boom), tc(a), rc(a), x(a, boom), tc(a), dc(a), sc(c(a)), x(a, boom)]},
     {"intensity/zero_with_transient_normal", "no restart is needed for a normal end", S(0, 30, [c(a, transient), c(b)]), [x(a, {shutdown, x}), x(b, normal)]},
     {"intensity/zero_in_a_group", "the group is stopped", s(one_for_all, #{intensity => 0}, [c(a), c(b, temporary), c(d)]), [x(d, boom)]},
     {"intensity/last_allowed_fails_to_start", "the last restart granted fails", S(1, 30, [c(a), c(b)]), [plan(a, [err(e1)]), x(a, boom)]}].

%% ---- nested supervisors ------------------------------------------------------------------
nested() ->
    [{"nested/dies_of_its_intensity_while_the_parent_is_busy", "served later", o([c(a), sup(s, i0([c(x), c(y)]))]), busy() ++ [x("s/x", boom), k(a), rel(), obs()]},
     {"nested/dies_of_its_intensity_before_terminate", "restarted, then terminated", o([c(a), sup(s, i0([c(x), c(y)]))]), busy() ++ [x("s/x", boom), as(tc(s), r2), rel(), obs()]},
     {"nested/terminate_before_it_dies", "terminated; its own end is flushed", o([c(a), sup(s, i0([c(x), c(y)]))]), busy() ++ [as(tc(s), r2), x("s/x", boom), rel(), obs()]},
     {"nested/both_levels_zero", "straight to the top", i0([sup(s, i0([sup(u, i0([c(x)])), c(y)])), c(b)]), [x("s/u/x", boom)]},
     {"nested/temporary_all_the_way", "a temporary supervisor is gone and nobody is hurt", i0([c(a), sup(s, #{restart => temporary}, i0([c(x)]))]), [x("s/x", boom), obs(), x("s/x", boom), tc(s), obs()]},
     {"nested/dynamic_below_dies_of_its_intensity", "the dynamic one comes back empty", s(rest_for_one, [c(a), sup(s, dyn(#{intensity => 0}, c(t))), c(b)]), [lb("s", d1), lb("s", d2), x("s/d2", boom), obs(), lb("s", d1), obs(), down()]},
     {"nested/retry_exhausts_inner_then_outer_restarts", "inner retries exhaust inner; outer restarts it", o([c(a), sup(s, s(one_for_one, #{intensity => 1}, [c(x), c(y)]))]), [plan("s/x", [err(e1), err(e2), err(e3)]), x("s/x", boom), obs()]},
     {"nested/start_failures_multiply", "inner and outer retries", s(one_for_one, #{intensity => 2}, [sup(s, s(one_for_one, #{intensity => 1}, [c(x)]))]), [plan("s/x", [err(e1), err(e2), err(e3), err(e4), err(e5), err(e6)]), x("s/x", boom)]},
     {"nested/limited_time_is_too_short", "a supervisor with a limited shutdown is killed; its slow child ends in its own time",
      o([c(a), sup(s, #{shutdown => 20}, o([c(x), c(y, #{on_shutdown => #{delay_ms => 100}})]))]), [tc(s), obs(), rc(s), obs()]},
     {"nested/limited_time_in_a_group", "the same in a group restart", s(one_for_all, [c(a), sup(s, #{shutdown => 20}, o([c(x), c(y, #{on_shutdown => #{delay_ms => 100}})]))]), [x(a, boom), obs()]},
     {"nested/limited_time_at_the_stop", "the same when all is stopped", o([c(a), sup(s, #{shutdown => 20}, o([c(x), c(y, #{on_shutdown => #{delay_ms => 100}})]))]), [down()]},
     {"nested/limited_time_two_levels", "the signal killed goes down", o([c(a), sup(s, #{shutdown => 20}, o([c(x), sup(u, o([c(v), c(w, #{on_shutdown => #{delay_ms => 100}})]))]))]), [tc(s), obs()]},
     {"nested/limited_time_that_is_enough", "a supervisor with a limited shutdown stops in time", o([c(a), sup(s, #{shutdown => 2000}, o([c(x), c(y, #{on_shutdown => #{delay_ms => 20}})]))]), [tc(s), obs(), down()]},
     {"nested/limited_dynamic", "a dynamic supervisor with a limited shutdown is killed", o([c(a), sup(s, #{shutdown => 20}, dyn(c(t, #{on_shutdown => #{delay_ms => 100}})))]), [lb("s", d1), lb("s", d2), tc(s), obs()]},
     {"nested/brutal_dynamic", "brutal_kill of a dynamic supervisor", o([c(a), sup(s, #{shutdown => brutal_kill}, dyn(c(t, #{on_shutdown => #{exit => oops}})))]), [lb("s", d1), lb("s", d2), tc(s), obs()]},
     {"nested/brutal_in_a_group", "brutal_kill of a supervisor in a group restart", s(one_for_all, [c(a), sup(s, #{shutdown => brutal_kill}, o([c(x), c(y, #{trap_exit => false})])), c(b)]), [x(b, boom), obs()]},
     {"nested/brutal_at_the_stop", "brutal_kill of a supervisor when all is stopped", o([c(a), sup(s, #{shutdown => brutal_kill}, o([c(x), sup(u, o([c(v)]))])), c(b)]), [down()]},
     {"nested/init_ignore_and_restart", "a supervisor that ignores is tried by restart_child", o([c(a), sup(s, (o([c(x)]))#{init => ignore})]), [rc(s), obs(), tc(s), dc(s), obs()]},
     {"nested/temporary_init_ignore", "a temporary one is not kept", o([c(a), sup(s, #{restart => temporary}, (o([c(x)]))#{init => ignore})]), [obs(), sc(sup(s, #{restart => temporary}, (o([]))#{init => ignore})), obs()]},
     {"nested/ignored_by_the_start_function", "a supervisor's start function returns ignore on restart", o([c(a), sup(s, i0([c(x)]))]), [plan("s", [ignore]), x("s/x", boom), obs(), rc(s), obs()]},
     {"nested/refused_by_the_start_function", "a supervisor's start function fails on restart", o([c(a), sup(s, i0([c(x)]))]), [plan("s", [err(e1), #{init_exit => e2}, #{raise => e3}]), x("s/x", boom), obs()]},
     {"nested/info_of_a_supervisor", "{ok,Pid,Info} of a supervisor", o([c(a)]), #{"s" => [#{ok_info => i}]}, [sc(sup(s, o([c(x)]))), obs(), x("s", boom), obs()]},
     {"nested/held_start_in_the_middle", "a grandchild's start is held: parent and grandparent are busy", o([c(a), sup(s, o([c(x)]))]), [plan("s/z", [hold(ok)]), as(sc("s", c(z)), r1), as(tc(s), r2), as(wc(), r3), k(a), rel(), obs()]},
     {"nested/top_stopped_while_held_below", "the stop waits for the held start below", o([c(a), sup(s, o([c(x)]))]), [plan("s/z", [hold(ok)]), as(sc("s", c(z)), r1), as(down(), r2), rel()]},
     {"nested/orderly_exit_of_a_dynamic_one", "sys:terminate of a dynamic supervisor", o([c(a), sup(s, dyn(c(t)))]), [lb("s", d1), lb("s", d2), x("s", boom), obs(), x("s", normal), obs()]},
     {"nested/same_failure_twice", "the second incarnation behaves like the first", o([sup(s, s(one_for_all, #{intensity => 0}, [c(x), c(y, temporary)]))]), [x("s/x", boom), obs(), x("s/y", boom), obs(), x("s/x", normal), obs()]}].

%% ---- killed supervisors --------------------------------------------------------------------
killed() ->
    Slow = c(y, #{on_shutdown => #{delay_ms => 30}}),
    [{"killed/with_children_of_all_kinds", "each gets the signal killed", o([c(a), sup(s, o([c(v), c(w, #{shutdown => brutal_kill}), c(x, #{trap_exit => false}), Slow, c(z, #{on_shutdown => #{exit => oops}})]))]), [k("s"), obs(), down()]},
     {"killed/dynamic", "a killed dynamic supervisor comes back empty", o([c(a), sup(s, dyn(c(t)))]), [lb("s", d1), lb("s", d2), k("s"), obs(), lb("s", d1), obs()]},
     {"killed/with_a_subtree", "a supervisor below a killed one ends with killed, its children with shutdown", o([c(a), sup(s, o([c(x), sup(u, o([c(v), c(w, #{on_shutdown => #{exit => oops}})]))]))]), [k("s"), obs()]},
     {"killed/temporary", "a killed temporary supervisor is gone", o([c(a), sup(s, #{restart => temporary}, o([c(x)]))]), [k("s"), obs()]},
     {"killed/over_the_limit", "a killed supervisor over the parent's limit", i0([c(a), sup(s, o([c(x), Slow]))]), [k("s")]},
     {"killed/in_a_group", "a killed supervisor restarts the group", s(one_for_all, [c(a), sup(s, o([c(x)])), c(b)]), [k("s"), obs()]},
     {"killed/with_requests_waiting", "they are answered with its reason", o([c(a), sup(s, o([c(x)]))]), [plan("s/z", [hold(ok)]), as(sc("s", c(z)), r1), as(#{op => which_children, sup => p("s")}, r2), k("s"), rel(), obs()]},
     {"killed/top_with_a_subtree", "the whole tree goes", o([c(a), sup(s, o([c(x), c(y, #{trap_exit => false})])), sup(u, dyn(c(t)))]), [lb("u", d1), k(top), obs(), #{op => start_top}, obs(), down()]},
     {"killed/while_the_parent_is_busy", "served later; requests before it see a dead child", o([c(a), sup(s, o([c(x)]))]), busy() ++ [as(cc(), r2), as(wc(), r3), k("s"), rel(), obs()]},
     {"killed/then_terminated", "terminated while its end is not served yet", o([c(a), sup(s, o([c(x)]))]), busy() ++ [as(tc(s), r2), k("s"), rel(), obs()]},
     {"killed/worker_brutal", "kill of workers of all kinds", o([c(a, #{trap_exit => false}), c(b, #{shutdown => brutal_kill}), c(d, transient), c(e, temporary)]), [k(a), k(b), k(d), k(e), obs()]}].

%% ---- exit reasons ---------------------------------------------------------------------------
reasons() ->
    Rs = [{"three_tuple", {shutdown, a, b}}, {"one_tuple", {shutdown}}, {"nested", {shutdown, {a, {b, 1}}}}, {"number", 5}, {"kill", kill},
          {"noproc", noproc}, {"killed_tuple", {killed, x}}, {"undefined", undefined}, {"text_that_reads_as_ours", 'shutdown: x'}, {"drained", 'Drained'},
          {"ignore", ignore}],
    [{"reason/" ++ N, "transient, permanent and temporary children with this reason", o([c(a), c(b, transient), c(d, temporary)]),
      [x(a, R), x(b, R), x(d, R), obs()]} || {N, R} <- Rs]
        ++
    [{"reason/of_a_failing_start_" ++ N, "a start that fails with this reason", o([c(a)]), [plan(b, [err(R), #{init_exit => R}, #{raise => R}]), sc(c(b)), sc(c(b)), sc(c(b)), obs()]} || {N, R} <- Rs]
        ++
    [{"reason/on_shutdown_" ++ N, "a child that ends with this reason when it is stopped", o([c(a), c(b, #{on_shutdown => #{exit => R}})]), [tc(b), rc(b), down()]} || {N, R} <- Rs]
        ++
    [{"reason/of_a_supervisor_" ++ N, "a supervisor that ends in order with this reason", o([c(a), sup(s, #{restart => transient}, o([c(x)]))]), [x("s", R), obs()]} || {N, R} <- Rs]
        ++
    [{"reason/of_the_top_" ++ N, "the top that is stopped with this reason", o([c(a), sup(s, #{restart => transient}, o([c(x)]))]), [down(R), obs()]} || {N, R} <- Rs, R =/= kill]
        ++
    [{"reason/raised_" ++ N, "a worker that raises this", o([c(a), c(b, transient), c(d, temporary)]), [x(a, #{raised => R}), x(b, #{raised => R}), x(d, #{raised => R}), obs()]} || {N, R} <- Rs].

%% ---- the queue -------------------------------------------------------------------------------
queue() ->
    [{"queue/requests_behind_a_stop", "answered with the reason of the end", o(abc()), busy() ++ [as(down(), r2), as(wc(), r3), as(tc(a), r4), rel()]},
     {"queue/requests_behind_a_normal_stop", "answered with the reason of the end", o(abc()), busy() ++ [as(down(normal), r2), as(wc(), r3), rel()]},
     {"queue/requests_behind_an_abnormal_stop", "answered with the reason of the end", o(abc()), busy() ++ [as(down({shutdown, x}), r2), as(wc(), r3), rel()]},
     {"queue/requests_behind_the_last_exit", "over the limit: what waits is answered with shutdown", i0(abc()), busy() ++ [k(b), as(wc(), r2), as(rc(b), r3), rel()]},
     {"queue/restart_child_before_the_exit", "running still", o(abc()), busy() ++ [as(rc(b), r2), k(b), as(rc(b), r3), rel(), obs()]},
     {"queue/delete_between_terminate_and_start", "a new child of the same id", o(abc()), busy() ++ [as(tc(b), r2), as(dc(b), r3), as(sc(c(b, temporary)), r4), as(gs(b), r5), rel(), obs()]},
     {"queue/exit_of_the_old_and_the_new", "the exit of the old process is not taken for the new one's", o(abc()), busy() ++ [as(tc(b), r2), as(rc(b), r3), k(b), rel(), obs(), x(b, boom), obs()]},
     {"queue/temporary_exit_before_start", "the id is free again", o([c(a), c(b, temporary)]), busy() ++ [x(b, boom), as(sc(c(b)), r2), rel(), obs()]},
     {"queue/temporary_start_before_exit", "the id is not free yet", o([c(a), c(b, temporary)]), busy() ++ [as(sc(c(b)), r2), x(b, boom), rel(), obs()]},
     {"queue/two_stops", "the second stop waits for the first", o(abc()), busy() ++ [as(down(one), r2), as(down(two), r3), rel()]},
     {"queue/held_first_start_and_exit", "a child dies while a later one starts at first", o(abc()), #{c => [hold(ok)]}, [as(#{op => start_top}, r1), k(a), x(b, boom), rel(), obs()]},
     {"queue/held_first_start_fails_after_an_exit", "the dead one is skipped by the stop", o(abc()), #{c => [hold(err(no))]}, [as(#{op => start_top}, r1), k(a), rel(), obs()]},
     {"queue/held_first_start_over_the_limit", "the exit is served after the start and is too many", i0(abc()), #{c => [hold(ok)]}, [as(#{op => start_top}, r1), k(a), rel(), obs()]},
     {"queue/group_restart_held_and_exits", "exits while the group is being started again", s(one_for_all, #{intensity => 3}, abc()), [plan(b, [hold(ok)]), x(c, boom), k(a), as(wc(), r1), rel(), obs()]},
     {"queue/rest_for_one_held_and_exits", "exits while the rest is being started again", s(rest_for_one, #{intensity => 3}, abc()), [plan(c, [hold(ok)]), x(b, boom), k(b), k(a), rel(), obs()]},
     {"queue/stop_while_a_group_is_held", "the stop is served after the attempt", s(one_for_all, abc()), [plan(b, [hold(ok)]), x(c, boom), as(down(), r1), k(a), rel()]}].
