//! Any contents, however they are cut, and any input.

use proptest::prelude::*;

use super::*;

fn any_text() -> impl Strategy<Value = TrackText> {
    "[ -$&->@-_]{0,76}".prop_map(|text| TrackText::new(&text).unwrap())
}

proptest! {
    #[test]
    fn any_text_is_read_as_it_was_written_however_the_answer_is_cut(texts in prop::array::uniform3(any_text()), piece in 1_usize..40, noise in "[a-z]{0,9}") {
        let mut answer = noise.clone().into_bytes();
        answer.extend(b"\x1Bs");
        for (number, text) in (1..).zip(&texts) {
            answer.extend([ESC, number]);
            answer.extend([if number == 1 { b'%' } else { b';' }]);
            answer.extend(text.as_str().bytes().chain([b'?']));
        }
        answer.extend(b"?\x1C\x1B0");
        let mut link = Msr605Link::serial(LinkTiming { quiet: Duration::ZERO, ..LinkTiming::default() });
        link.send(Moment::ORIGIN, Request::ReadIso);
        for piece in answer.chunks(piece) {
            prop_assert!(link.poll_reply().is_none());
            link.handle_input(Moment::ORIGIN, piece);
        }
        let Some(Ok(Reply::Iso(swipe))) = link.poll_reply() else { panic!("no block") };
        prop_assert_eq!(swipe.tracks, texts.map(IsoTrack::Text));
        prop_assert_eq!(link.counters().noise_bytes, noise.len() as u64);
    }

    #[test]
    fn any_bits_come_back_as_they_were(tracks in prop::array::uniform3(prop::collection::vec(any::<bool>(), 1..250))) {
        let mut bench = Bench::reports();
        // A head sees a track from its first one on.
        let tracks = tracks.map(|track| [vec![true], track].concat());
        let mut card = StripeCard::blank(StripeKind::HiCo);
        bench.done(Request::SetLeadingZeros(LeadingZeros { tracks_1_and_3: 3, track_2: 2 }));
        bench.ask(Request::WriteRaw(tracks.clone().map(|track| raw(&track))));
        bench.swipe(&mut card);
        prop_assert_eq!(bench.run(), status(Status::Ok));
        bench.ask(Request::ReadRaw);
        bench.swipe(&mut card);
        let Ended::Reply(Reply::Raw(raw)) = bench.run() else { panic!() };
        for (read, track) in raw.tracks.iter().zip(&tracks) {
            prop_assert_eq!(&read.bits().as_slice()[..track.len()], track.as_slice());
        }
    }

    #[test]
    fn any_input_ends_a_configuration_command_in_time(pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), 0_u64..200), 0..40), reports: bool) {
        let timing = LinkTiming::default();
        let mut link = if reports { Msr605Link::reports(timing) } else { Msr605Link::serial(timing) };
        for request in [Request::Firmware, Request::SetBitsPerCharacter(BitsPerCharacter::ISO), Request::Reset] {
            let mut now = Moment::ORIGIN;
            let by = now + link.longest(&request);
            link.reset();
            link.send(now, request);
            let mut replies = 0;
            for (piece, wait) in &pieces {
                link.handle_input(now, piece);
                replies += usize::from(link.poll_reply().is_some());
                let until = now + Duration::from_millis(*wait);
                while let Some(due) = link.poll_timeout().filter(|due| *due <= until) {
                    now = now.max(due);
                    link.handle_timeout(now);
                }
                now = until;
                replies += usize::from(link.poll_reply().is_some());
            }
            while let Some(due) = link.poll_timeout() {
                now = now.max(due);
                prop_assert!(due <= by);
                link.handle_timeout(now);
            }
            replies += usize::from(link.poll_reply().is_some());
            prop_assert_eq!(replies, 1);
        }
    }
}
